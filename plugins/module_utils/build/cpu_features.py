# SPDX-License-Identifier: MIT
"""The CPU features that a build uses, and which of them a tower lacks.

A binary that uses an instruction the CPU does not have dies with SIGILL, in the middle of the first
token. The compiler tells what it will use: ``gcc <flags> -dM -E`` prints one macro for each
instruction set. Features are named as in /proc/cpuinfo. On other CPUs than x86-64 nothing is known to this
table, so nothing is refused; the trial run of a release is the check that is left there.
"""

from __future__ import annotations

# The switches of ggml/CMakeLists.txt, and the compiler flags that ggml/src/ggml-cpu/CMakeLists.txt makes of
# them. Only ggml's kernels are compiled with these; everything else is plain x86-64.
FLAGS = {
    "SSE42": ("-msse4.2",),
    "AVX": ("-mavx",),
    "AVX2": ("-mavx2",),
    "BMI2": ("-mbmi2",),
    "FMA": ("-mfma",),
    "F16C": ("-mf16c",),
    "AVX_VNNI": ("-mavxvnni",),
    "AVX512": ("-mavx512f", "-mavx512cd", "-mavx512vl", "-mavx512dq", "-mavx512bw"),
    "AVX512_VBMI": ("-mavx512vbmi",),
    "AVX512_VNNI": ("-mavx512vnni",),
    "AVX512_BF16": ("-mavx512bf16",),
    "AMX_TILE": ("-mamx-tile",),
    "AMX_INT8": ("-mamx-int8",),
    "AMX_BF16": ("-mamx-bf16",),
}

# The levels of the x86-64 psABI. The extensions beyond AVX512 (VNNI, BF16, AMX) belong to none of them.
SWITCHES = ("SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C", "AVX512")
_V3 = SWITCHES[:-1]
LEVELS = {"x86-64-v2": ("SSE42",), "x86-64-v3": _V3, "x86-64-v4": SWITCHES}

# Macro of GCC and Clang -> flag of /proc/cpuinfo. Only instruction sets that a compiler uses of itself
# or that ggml's kernels ask for; a flag that Linux does not print (CLFLUSHOPT's kin, cache hints that
# old CPUs take for no-ops) must not refuse a binary that runs. Of newer Xeons it prints neither AMX-FP16 and
# AVX-IFMA (arch/x86/include/asm/cpufeatures.h, word 12) nor AVX-VNNI-INT8 and AVX-NE-CONVERT (known to KVM only,
# arch/x86/kvm/reverse_cpuid.h), all of which GCC 13 uses natively; the trial run is the check of these.
MACROS = {
    "__SSE3__": "pni",
    "__SSSE3__": "ssse3",
    "__SSE4_1__": "sse4_1",
    "__SSE4_2__": "sse4_2",
    "__POPCNT__": "popcnt",
    "__AVX__": "avx",
    "__AVX2__": "avx2",
    "__BMI__": "bmi1",
    "__BMI2__": "bmi2",
    "__LZCNT__": "abm",
    "__MOVBE__": "movbe",
    "__FMA__": "fma",
    "__F16C__": "f16c",
    "__ADX__": "adx",
    "__AES__": "aes",
    "__PCLMUL__": "pclmulqdq",
    "__SHA__": "sha_ni",
    "__GFNI__": "gfni",
    "__VAES__": "vaes",
    "__VPCLMULQDQ__": "vpclmulqdq",
    "__SSE4A__": "sse4a",
    "__XOP__": "xop",
    "__FMA4__": "fma4",
    "__TBM__": "tbm",
    "__AVX512F__": "avx512f",
    "__AVX512CD__": "avx512cd",
    "__AVX512BW__": "avx512bw",
    "__AVX512DQ__": "avx512dq",
    "__AVX512VL__": "avx512vl",
    "__AVX512IFMA__": "avx512ifma",
    "__AVX512VBMI__": "avx512vbmi",
    "__AVX512VBMI2__": "avx512_vbmi2",
    "__AVX512VNNI__": "avx512_vnni",
    "__AVX512BITALG__": "avx512_bitalg",
    "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
    "__AVX512BF16__": "avx512_bf16",
    "__AVX512FP16__": "avx512_fp16",
    "__AVX512VP2INTERSECT__": "avx512_vp2intersect",
    "__AVXVNNI__": "avx_vnni",
    "__AMX_TILE__": "amx_tile",
    "__AMX_INT8__": "amx_int8",
    "__AMX_BF16__": "amx_bf16",
}


def compiler_flags(options: dict[str, str]) -> list[str]:
    """The flags with which ggml's kernels will be compiled under these cmake options."""
    on = {name for name, value in options.items() if value.upper() in ("ON", "TRUE", "YES", "Y", "1")}
    if "GGML_NATIVE" in on:
        flags = ["-march=native"]
    else:
        flags = [flag for switch, flags in FLAGS.items() if f"GGML_{switch}" in on for flag in flags]
    return flags + machine_flags(f"{options.get('CMAKE_C_FLAGS', '')} {options.get('CMAKE_CXX_FLAGS', '')}".split())


def machine_flags(argv: list[str]) -> list[str]:
    """The flags of a compiler's command line that choose the instruction set."""
    return [word for word in argv if word.startswith("-m")]


def features_of(macros: str) -> list[str]:
    """The features that the output of ``cc -dM -E`` names, sorted."""
    defined = {line.split()[1] for line in macros.splitlines() if line.startswith("#define ") and len(line.split()) > 1}
    return sorted(flag for macro, flag in MACROS.items() if macro in defined)


def missing_features(required: list[str], available: list[str]) -> list[str]:
    """What a CPU with the flags ``available`` lacks of ``required``, in order."""
    return [feature for feature in required if feature not in available]


def features_problem(required: list[str], available: list[str]) -> str | None:
    """One sentence where a build cannot run on a CPU with these flags, else None."""
    missing = missing_features(required, available)
    if not missing:
        return None
    return (
        f"This build of llama.cpp uses CPU features that this tower lacks: {', '.join(missing)}. Set llama_build_cpu "
        "to a level that it has (x86-64-v3 needs AVX2, x86-64-v4 AVX-512), or build on a machine of its kind."
    )
