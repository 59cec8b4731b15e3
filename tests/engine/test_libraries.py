from __future__ import annotations

import pytest
import torch

from resnet_bench.engine import machine as libraries


def test_libraries_name_torch_and_its_kernels() -> None:
    versions = libraries.describe_libraries()
    assert versions["torch"] == torch.__version__
    # A parent process that reads it must not have to import torch.
    assert type(versions["torch"]) is str
    assert versions["cuda"] == torch.version.cuda
    assert versions["torchvision"]
    assert versions["scikit_learn"]


def test_versions_are_read_from_the_build_description(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = (
        "  - OpenMP 201511 (a.k.a. OpenMP 4.5)\n"
        "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 7\n"
        "  - Intel(R) MKL-DNN v3.7.1 (Git Hash abc)\n"
        "  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release\n"
    )
    monkeypatch.setattr(torch.__config__, "show", lambda: build)
    versions = libraries.describe_libraries()
    assert versions["openmp"] == "201511"
    assert versions["mkl"] == "2024.2"
    assert versions["onednn"] == "3.7.1"
    assert versions["blas"] == "mkl"


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert libraries.installed_version("no-such-distribution") is None


def test_a_build_without_cudnn_has_no_version_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)
    assert libraries.describe_libraries()["cudnn"] is None


def test_torch_settings_follow_the_process() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert libraries.describe_torch()["threads"] == before + 1
    finally:
        torch.set_num_threads(before)


def test_flushing_of_denormals_is_found_out_by_trying() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush denormals")
    try:
        assert libraries.flushes_denormals()
    finally:
        torch.set_flush_denormal(False)
    assert not libraries.flushes_denormals()
