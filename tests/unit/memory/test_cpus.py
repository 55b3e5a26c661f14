# SPDX-License-Identifier: MIT
"""What memory a CPU has, by its brand."""

from __future__ import annotations

import pytest

from plugins.module_utils.memory.cpus import ccd_links, cpu_memory, dies_of


@pytest.mark.parametrize(
    ("brand", "channels"),
    [
        ("Intel(R) Core(TM) i7-5960X CPU @ 3.00GHz", 4),
        ("Intel(R) Core(TM) i7-7740X CPU @ 4.30GHz", 2),
        ("Intel(R) Core(TM) i9-9900K CPU @ 3.60GHz", 2),
        ("Intel(R) Core(TM) i9-9900X CPU @ 3.50GHz", 4),
        ("Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz", 3),
        ("Intel(R) Core(TM) i7 CPU         980  @ 3.33GHz", 3),
        ("Intel(R) Core(TM) i7 CPU       X 920  @ 2.00GHz", 2),
        ("Intel(R) Atom(TM) CPU D525   @ 1.80GHz", 1),
        ("Intel(R) Celeron(R) CPU  N2840  @ 2.16GHz", 2),
        ("AMD A9-9425 RADEON R5, 5 COMPUTE CORES 2C+3G", 1),
        ("AMD E-350 Processor", 1),
        ("Intel(R) N100", 1),
        ("Intel(R) Xeon(R) D-2146NT CPU @ 2.30GHz", 4),
        ("Intel(R) Xeon(R) CPU D-1541 @ 2.10GHz", 2),
        ("INTEL(R) XEON(R) GOLD 5520+", 8),
        ("Intel(R) Xeon(R) Gold 6348H CPU @ 2.30GHz", 6),
        ("Intel(R) Xeon(R) Gold 6348 CPU @ 2.60GHz", 8),
        ("Intel(R) Xeon(R) Platinum 8369HB CPU @ 3.30GHz", 6),
        ("Intel(R) Xeon(R) 6369P", 2),
        ("Intel(R) Xeon(R) 6726P-B", 4),
        ("Intel(R) Xeon(R) 6503P-B", 4),
        ("Intel(R) Xeon(R) 6776P-B", 8),
        ("Intel(R) Xeon(R) 6787P", 8),
        ("Intel(R) Xeon(R) 6503P", 8),
        ("Intel(R) Xeon(R) 6990E+", 12),
        ("Intel(R) Xeon(R) 698X", 8),
        ("Intel(R) Xeon(R) 654", 8),
        ("Intel(R) Xeon(R) 636", 4),
        ("Hygon C86 7285 32-core Processor", 8),
        ("Hygon C86 7490", 12),
        ("Hygon C86 5280 16-core Processor", 4),
        ("Hygon C86 3250 8-core Processor", 2),
        ("Hygon C86-4G (OPN:7490)", 12),
        ("Hygon C86-4G 3490", None),
        ("AmpereOne(R) Processor A192-32X", 8),
        ("AmpereOne(R) Processor A192-32M", 12),
        ("AmpereOne(R)", None),
        ("AMD Ryzen Threadripper 9970X 32-Cores", 4),
        ("AMD Ryzen Threadripper PRO 9995WX 96-Cores", 8),
        ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", 4),
        ("AMD Ryzen AI Max+ PRO 395 w/ Radeon 8060S", 4),
        ("Intel(R) Xeon(R) Platinum 9242 CPU @ 2.30GHz", 12),
        ("Intel(R) Xeon(R) w5-2465X", 4),
        ("Intel(R) Xeon(R) w9-3495X", 8),
        ("Intel(R) Xeon(R) 6980P", 12),
        ("AMD EPYC 8434P 48-Core Processor", 6),
        ("AMD EPYC 9V64H", None),
        ("AMD EPYC 9754 128-Core Processor", 12),
        ("AMD EPYC 4564P 16-Core Processor", 2),
        ("AMD Ryzen Threadripper 7960X 24-Cores", 4),
        ("AMD Ryzen Threadripper PRO 7965WX 24-Cores", 8),
        ("AMD Ryzen 3 7320U with Radeon Graphics", 1),
        ("AMD EPYC-Rome Processor", None),
        ("AMD EPYC Processor (with IBPB)", None),
        ("QEMU Virtual CPU version 2.5+", None),
        ("Cortex-A76 4", None),
        ("", None),
    ],
)
def test_channels_of_a_cpu(brand: str, channels: int | None) -> None:
    memory = cpu_memory(brand)
    assert (memory.channels if memory else None) == channels


@pytest.mark.parametrize(
    ("brand", "speed"),
    [
        ("Intel(R) Xeon(R) CPU E5-2620 v4 @ 2.10GHz", 2133),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 2400),
        ("Intel(R) Xeon(R) CPU E5-2630L v3 @ 1.80GHz", 1866),
        ("Intel(R) Xeon(R) CPU E5-2609 v3 @ 1.90GHz", 1600),
        ("Intel(R) Xeon(R) CPU           E5620  @ 2.40GHz", 1066),
        ("Intel(R) Xeon(R) Gold 5122 CPU @ 3.60GHz", 2666),
        ("Intel(R) Xeon(R) Gold 5118 CPU @ 2.30GHz", 2400),
        ("Intel(R) Xeon(R) Gold 5222 CPU @ 3.80GHz", 2933),
        ("Intel(R) Xeon(R) Gold 6262V CPU @ 1.90GHz", 2400),
        ("Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz", 2933),
        ("Intel(R) Xeon(R) Gold 6330N CPU @ 2.20GHz", 2666),
        ("Intel(R) Xeon(R) Gold 6342 CPU @ 2.80GHz", 3200),
        ("INTEL(R) XEON(R) GOLD 6530", 4800),
        ("INTEL(R) XEON(R) GOLD 6542Y", 5200),
        ("AMD Ryzen 7 7700X 8-Core Processor", 5200),
        ("AMD Ryzen 7 7730U with Radeon Graphics", None),
    ],
)
def test_the_fastest_memory_of_a_cpu(brand: str, speed: int | None) -> None:
    memory = cpu_memory(brand)
    assert memory is not None
    assert memory.mts_1dpc == speed


def test_an_engineering_sample_is_known_by_its_signature() -> None:
    sample = cpu_memory("AMD Eng Sample: 100-000000475-04", 25, 17)
    assert sample is not None
    assert sample.channels == 12
    assert cpu_memory("Some CPU", 25, 17) is None


@pytest.mark.parametrize(
    ("family", "model", "brand", "links"),
    [
        (23, 49, "AMD EPYC 7452 32-Core Processor", ("zen2", 2)),
        (23, 49, "AMD Ryzen Threadripper 3990X 64-Core Processor", ("zen2", 2)),
        (25, 8, "AMD Ryzen Threadripper PRO 5995WX 64-Cores", ("zen3", 1)),
        (25, 160, "AMD EPYC 9754 128-Core Processor", ("zen4", 2)),
        (25, 24, "AMD Ryzen Threadripper PRO 7965WX 24-Cores", ("zen4", 1)),
        (26, 8, "AMD Ryzen Threadripper 9970X 32-Cores", ("zen5", 1)),
        (26, 2, "AMD EPYC 9755 128-Core Processor", ("zen5", 1)),
        (23, 1, "AMD Ryzen Threadripper 1950X 16-Core Processor", None),
        (26, 68, "AMD Ryzen 9 9950X 16-Core Processor", None),
        (26, 68, "AMD EPYC 4565P 16-Core Processor", None),
        (6, 143, "Intel(R) Xeon(R) w9-3495X", None),
    ],
)
def test_a_name_alone_has_the_links_of_its_family_and_model(
    family: int, model: int, brand: str, links: tuple[str, int] | None
) -> None:
    assert ccd_links(family, model, brand) == ccd_links(None, None, brand) == links


def test_an_engineering_sample_has_the_links_of_its_signature() -> None:
    assert ccd_links(25, 17, "AMD Eng Sample: 100-000000475-04") == ("zen4", 1)
    assert ccd_links(None, None, "AMD Eng Sample: 100-000000475-04") is None


def test_dies_are_known_only_where_those_of_every_socket_are() -> None:
    assert dies_of(("zen4", 2), [16, 16]) == 16
    assert dies_of(("zen4", 1), [4, None]) is None
    assert dies_of(None, [4, 4]) is None
