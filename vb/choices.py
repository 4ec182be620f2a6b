"""What operators and clients may choose from: one list for settings, commands and whatever does it."""

from __future__ import annotations

from typing import Final, Literal, get_args

CodecName = Literal["opus", "G722", "PCMU", "PCMA"]
"""Codecs by their canonical names, the order of preference where nothing is set."""

KNOWN_CODECS: Final[tuple[CodecName, ...]] = get_args(CodecName)

MIXING_RATES_HZ: Final = (8000, 16000, 48000)
"""Rates at which rooms can mix."""

MIXING_RATES_TEXT: Final = f"{', '.join(map(str, MIXING_RATES_HZ[:-1]))}, or {MIXING_RATES_HZ[-1]}"

SrtpPolicy = Literal["off", "preferred", "required"]
"""Whether calls are offered SRTP, and whether plain audio will do."""

SrtpKeying = Literal["sdes", "dtls"]
"""How the keys of SRTP are agreed on: in session descriptions, or by a handshake beside the media."""
