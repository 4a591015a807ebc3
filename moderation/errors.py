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
    ├── StoreError              the queue's database cannot do its work
    │   ├── StoreUnavailable    it cannot be opened or reached, or is busy for too long; trying again may help
    │   ├── StoreFull           its disk is full; what was acknowledged is kept
    │   ├── ErasureUnfinished   texts are erased, but SQLite's log still holds them; doing it again ends it
    │   └── StoreForeign        it is not ours, or was written by a later version
    ├── NotFound                there is no such comment, decision, account ...
    ├── Conflict                what was asked no longer fits what is there; says what is
    │   ├── ClaimTaken          another moderator has the comment before them
    │   ├── AlreadyDecided      the comment was decided in the meantime
    │   ├── CommentChanged      the text was edited since it was read
    │   └── KeyReused           an idempotency key came again with another request
    ├── SignInFailed            name and password do not fit
    │   └── SignInThrottled     too many failures; says how long to wait
    ├── Forbidden               the account may not do this
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


class StoreError(ModerationError):
    """The queue's database cannot do its work."""

    exit_code = 5
    public = "the queue's database could not do this; the log has the place"
    """What may be said of it outside, where the database's address is nobody's business."""


class StoreUnavailable(StoreError):
    """The database cannot be opened or reached, or was busy for too long; trying again may help."""

    status = 503
    public = "the queue's database is busy or cannot be reached; try again"


class StoreFull(StoreError):
    """The database's disk is full. Nothing of the request was written; what was acknowledged before is kept."""

    status = 507
    public = "the queue's database has no room left; nothing of this was written"


class ErasureUnfinished(StoreError):
    """Texts are erased, but SQLite's log still holds them, because somebody reads; erasing again, later, ends it."""

    status = 503
    public = "erased, but the log of the queue's database still holds the texts, because somebody reads; do it again"


class StoreForeign(StoreError):
    """The database is not ours, or was written by a later version."""


class NotFound(ModerationError, LookupError):
    """There is no such comment, decision, account or the like."""

    status = 404
    exit_code = 2


class Conflict(ModerationError):
    """What was asked no longer fits what is there; nothing was changed."""

    status = 409


class ClaimTaken(Conflict):
    """Another moderator has the comment before them."""

    def __init__(self, message: str, *, by: str) -> None:
        super().__init__(message)
        self.by = by
        """Name of the moderator who holds the claim."""


class AlreadyDecided(Conflict):
    """The comment was decided in the meantime."""

    def __init__(self, message: str, *, by: str, act: str) -> None:
        super().__init__(message)
        self.by = by
        """Name of the moderator who decided."""
        self.act = act
        """What was decided."""


class CommentChanged(Conflict):
    """The comment was edited since the moderator read it."""


class KeyReused(Conflict):
    """An idempotency key came again with another request."""

    status = 422


class SignInFailed(ModerationError):
    """Name and password do not fit; which of them is wrong is not told."""

    status = 401


class SignInThrottled(SignInFailed):
    """Too many sign-ins failed."""

    status = 429

    def __init__(self, message: str, *, wait: float) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds until the next try is allowed."""


class Forbidden(ModerationError):
    """The account may not do this."""

    status = 403
