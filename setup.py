"""Build the compiled scoring path; everything else stands in pyproject.toml.

Without a compiler the package installs all the same and scores by the pure path, slower and equal.
"""

import sys
from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "moderation._ngrams",
            ["moderation/_c/ngrams.c"],
            depends=glob("moderation/_c/*.h"),
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            optional=True,
        )
    ]
)
