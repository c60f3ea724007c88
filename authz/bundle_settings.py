"""The settings of policy bundles, in the configuration's `policy.bundle`."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from authz.documents import Document, ExistingFile, FileToBe
from authz.forms import BundleUrl, Sha256


class BundleSettings(Document):
    """A signed or pinned archive of policies: where it is published, and what proves it."""

    url: BundleUrl | None = None
    file: FileToBe | None = None  # or one of this machine, which somebody renews
    public_keys_file: ExistingFile | None = None  # a JWK Set: one of them signs the bundles
    digest: Sha256 | None = None  # of the one archive that counts
    scope: str = ""  # that the signature names
    authorities_file: ExistingFile | None = None  # who signs the server's certificate; else those of the system
    token_file: ExistingFile | None = None  # a bearer token for the server
    poll_seconds: Annotated[float, Field(gt=0, le=86400)] = 30.0  # how often it is asked for another
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0  # for one transfer, whole
    cache_file: FileToBe | None = None  # keeps the last good bundle for a start without the server

    @model_validator(mode="after")
    def _is_proven(self) -> Self:
        if (self.url is None) == (self.file is None):
            raise PydanticCustomError("bundle", "give either url or file: that is where the bundle is")
        if self.public_keys_file is None and self.digest is None:
            message = "without public_keys_file or digest anybody's policies would count: give one of them, or both"
            raise PydanticCustomError("bundle", message)
        if self.url is None and (self.authorities_file or self.token_file):
            raise PydanticCustomError("bundle", "authorities_file and token_file are about the server of a url")
        if self.scope and self.public_keys_file is None:
            raise PydanticCustomError("bundle", "scope is what a signature names, so it goes with public_keys_file")
        if self.url is not None and "sha256:" in self.url and not self.url.endswith(f"/{self.digest}"):
            raise PydanticCustomError(
                "bundle", "the url names the archive by its digest: let it end in what digest says"
            )
        return self
