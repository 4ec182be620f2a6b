"""What can be told from how a far end sounds: person or machine, and the beep of a voicemail."""
