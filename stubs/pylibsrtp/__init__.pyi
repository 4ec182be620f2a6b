"""What is used of pylibsrtp, with the handles on its library that its own types do not name."""

from typing import Any

ffi: Any
lib: Any

class Error(Exception): ...

class Policy:
    SRTP_PROFILE_AES128_CM_SHA1_80: int
    SRTP_PROFILE_AES128_CM_SHA1_32: int
    SRTP_PROFILE_AEAD_AES_128_GCM: int
    SRTP_PROFILE_AEAD_AES_256_GCM: int
    SSRC_ANY_INBOUND: int
    SSRC_ANY_OUTBOUND: int
    allow_repeat_tx: bool
    window_size: int
    _policy: Any
    def __init__(
        self, key: bytes | None = None, ssrc_type: int = 0, ssrc_value: int = 0, srtp_profile: int = 1
    ) -> None: ...

class Session:
    def __init__(self, policy: Policy | None = None) -> None: ...
    def protect(self, packet: bytes) -> bytes: ...
    def unprotect(self, packet: bytes) -> bytes: ...
    def protect_rtcp(self, packet: bytes) -> bytes: ...
    def unprotect_rtcp(self, packet: bytes) -> bytes: ...
