"""Builds the extension on libcachetastic, which pkg-config finds (PKG_CONFIG_PATH, for one that is not installed in
the system's place)."""

import shlex
import subprocess

from setuptools import Extension, setup


def pkg_config(*what):
    return shlex.split(subprocess.check_output(["pkg-config", *what, "libcachetastic"], text=True))


directory = pkg_config("--variable=libdir")[0]
setup(ext_modules=[Extension(
    "cachetastic._cachetastic",
    [f"src/{name}.c" for name in ("client", "decode", "lease", "module")],
    depends=["src/module.h"],
    extra_compile_args=["-std=c11", "-Wall", "-Wextra", "-Wno-missing-field-initializers", *pkg_config("--cflags")],
    extra_link_args=pkg_config("--libs"),
    # A library in a system folder needs no path; another would not be found without it.
    runtime_library_dirs=[] if directory.startswith(("/usr/lib", "/lib")) else [directory],
)])
