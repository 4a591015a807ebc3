"""Every error that this package raises on purpose.

::

    ModerationError
    ├── InputError              what came in cannot be read as a comment
    │   ├── RowError            one row of a file; carries its line number
    │   └── PageError           a saved page without a comment thread
    ├── BundleError             the model on disk cannot be used
    │   ├── BundleNotFound      there is no such folder
    │   ├── BundleForeign       the folder is not a bundle of this product
    │   ├── BundleTooNew        written by a later version of the format
    │   ├── BundleTooLarge      a size or shape beyond the allowed bound
    │   └── BundleDamaged       truncated, altered, or at odds with its manifest
    ├── PolicyError             a policy file is wrong; names the line
    └── MissingExtra            an optional library is not installed

``status`` is the HTTP status and ``exit_code`` the process exit code that stand for the error at the edge.
Messages name the place, what was allowed and what came; they never hold the text of a comment.
"""


class ModerationError(Exception):
    """Root of all errors of this package."""

    status = 500
    exit_code = 1


class InputError(ModerationError, ValueError):
    """What came in cannot be read as a comment."""

    status = 400
    exit_code = 2


class RowError(InputError):
    """One row of a file cannot be read; the rows around it can."""

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(message)
        self.line = line
        """Line number in the file, counted from 1."""


class PageError(InputError):
    """A saved page holds no comment thread that we can find."""


class BundleError(ModerationError):
    """The model on disk cannot be used."""

    exit_code = 3


class BundleNotFound(BundleError):
    """There is no bundle at this path."""


class BundleForeign(BundleError):
    """The folder is not a bundle of this product."""


class BundleTooNew(BundleError):
    """The bundle was written by a later version of the format."""


class BundleTooLarge(BundleError):
    """A size or a shape is beyond what a bundle may have."""


class BundleDamaged(BundleError):
    """The bundle is truncated, altered, or at odds with its own manifest."""


class PolicyError(ModerationError, ValueError):
    """A policy is wrong; the message names the line and what is allowed."""

    status = 400
    exit_code = 2


class MissingExtra(ModerationError, ImportError):
    """An optional library is not installed; the message says how to get it."""

    exit_code = 4
