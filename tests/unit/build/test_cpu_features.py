# SPDX-License-Identifier: MIT
"""Which CPU features a build uses, and which of them a tower lacks."""

from __future__ import annotations

import pytest

from plugins.module_utils.build.cpu_features import (
    LEVELS,
    compiler_flags,
    features_of,
    features_problem,
    machine_flags,
    missing_features,
)

# The lines of `cc -mavx2 -mfma -dM -E` that matter here, among others.
MACROS = (
    "#define __AVX__ 1\n#define __AVX2__ 1\n#define __FMA__ 1\n#define __SSE3__ 1\n#define __GNUC__ 12\n\nnonsense\n"
)
ZEN4 = ["avx", "avx2", "avx512f", "avx512_vnni", "fma", "pni", "sse4_2"]
HASWELL = ["avx", "avx2", "fma", "pni", "sse4_2"]


def test_macros_become_the_names_of_proc_cpuinfo() -> None:
    assert features_of(MACROS) == ["avx", "avx2", "fma", "pni"]


def test_a_compiler_for_another_architecture_names_none() -> None:
    assert features_of("#define __ARM_NEON 1\n#define __aarch64__ 1\n") == []


def test_what_linux_does_not_print_refuses_no_cpu_its_own_build() -> None:
    # Of gcc-14 -march=graniterapids and -march=sierraforest.
    macros = ("AMX_FP16", "AMX_INT8", "AVXIFMA", "AVXVNNI", "AVXVNNIINT8", "AVXNECONVERT")
    assert features_of("".join(f"#define __{macro}__ 1\n" for macro in macros)) == ["amx_int8", "avx_vnni"]


def test_what_is_missing_is_named_in_order() -> None:
    assert missing_features(ZEN4, HASWELL) == ["avx512f", "avx512_vnni"]


def test_a_cpu_with_more_than_is_used_is_not_refused() -> None:
    assert features_problem(HASWELL, ZEN4) is None


def test_the_refusal_names_the_features_and_the_variable() -> None:
    sentence = features_problem(ZEN4, HASWELL)
    assert sentence is not None
    assert "this tower lacks: avx512f, avx512_vnni." in sentence
    assert "llama_build_cpu" in sentence


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"GGML_NATIVE": "ON"}, ["-march=native"]),
        ({"GGML_NATIVE": "OFF"}, []),
        ({"GGML_NATIVE": "OFF", "GGML_AVX2": "ON", "GGML_FMA": "1", "GGML_AVX512": "OFF"}, ["-mavx2", "-mfma"]),
        ({"GGML_AVX512_BF16": "on"}, ["-mavx512bf16"]),
        ({"CMAKE_CXX_FLAGS": "-O3 -march=znver4"}, ["-march=znver4"]),
    ],
)
def test_cmake_options_become_compiler_flags(options: dict[str, str], flags: list[str]) -> None:
    assert compiler_flags(options) == flags


def test_each_level_has_what_the_one_below_has() -> None:
    v2, v3, v4 = (set(LEVELS[f"x86-64-v{level}"]) for level in (2, 3, 4))
    assert v2 < v3 < v4


def test_only_flags_of_the_machine_are_taken_from_a_command() -> None:
    command = ["c++", "-DGGML_USE_CPU", "-I.", "-O3", "-march=native", "-mtune=native", "-o", "x.o"]
    assert machine_flags(command) == ["-march=native", "-mtune=native"]
