"""The HTTP server: Perspective's protocol, OpenAI's, Coral's and our own, over one scorer and one policy.

::

    from moderation import Policy, Scorer
    from moderation.server import Settings, create_app

    app = create_app(Scorer.load(), Policy.load(), Settings())  # an ASGI application, to be run or mounted
"""

from moderation.server.app import create_app
from moderation.server.settings import Settings

__all__ = ["Settings", "create_app"]
