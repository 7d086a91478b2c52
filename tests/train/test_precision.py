from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nas.errors import InvalidInput
from nas.train import precision
from nas.train.precision import CPU_PIXELS, autocast, multiplies_bfloat16, scaler

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def computed_in(name: str, pixels: int = 0) -> torch.dtype:
    with autocast(name, CPU, pixels=pixels):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def has(monkeypatch: pytest.MonkeyPatch, *, avx512: bool, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
@pytest.mark.parametrize("pixels", [0, 10**6])
def test_a_named_format_is_used_whatever_the_images(name: str, pixels: int) -> None:
    assert computed_in(name, pixels) == getattr(torch, name)


@pytest.mark.parametrize(("avx512", "amx"), [(True, False), (False, True)])
def test_auto_is_bfloat16_for_large_images_on_a_cpu_that_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool
) -> None:
    has(monkeypatch, avx512=avx512, amx=amx)
    assert computed_in("auto", CPU_PIXELS) == torch.bfloat16
    assert computed_in("auto", CPU_PIXELS - 1) == torch.float32
    assert computed_in("auto") == torch.float32


def test_auto_is_float32_on_other_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, avx512=False, amx=False)
    assert computed_in("auto", 10**6) == torch.float32


def test_a_torch_that_cannot_tell_counts_as_a_cpu_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    assert not multiplies_bfloat16()


def test_what_this_cpu_can_do_agrees_with_its_flags() -> None:
    source = Path("/proc/cpuinfo")
    flags = source.read_text(encoding="utf-8").split() if source.exists() else []
    if "avx512f" not in flags:
        pytest.skip("no x86 processor with AVX-512 that says what it can do")
    assert multiplies_bfloat16() == ("avx512_bf16" in flags or "amx_tile" in flags)


@pytest.mark.parametrize("native", [True, False])
def test_auto_on_cuda_asks_for_units_rather_than_emulation(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert precision._dtype("auto", CUDA, 1) == (torch.bfloat16 if native else torch.float32)


def test_weights_and_their_gradients_stay_in_float32() -> None:
    layer = torch.nn.Linear(3, 2)
    with autocast("bfloat16", CPU):
        out = layer(torch.ones(1, 3))
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == layer.weight.dtype == torch.float32


def test_only_float16_is_scaled() -> None:
    without = nullcontext() if torch.cuda.is_available() else pytest.warns(UserWarning, match="GradScaler is enabled")
    with without:  # what torch says when it was asked for a scaler and there is no device for it
        scaler("float16", CUDA)
    for name in ("auto", "float32", "bfloat16"):
        assert not scaler(name, CPU).is_enabled()


@pytest.mark.parametrize("make", [autocast, scaler])
def test_float16_on_a_cpu_is_refused_with_a_mend(make: object) -> None:
    with pytest.raises(InvalidInput, match=r"recipe\.precision: 'float16' .* use auto"):
        make("float16", CPU)  # type: ignore[operator]


def test_a_format_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"float8.*bfloat16"):
        autocast("float8", CPU)
