"""The media plane: all legs' audio moved, mixed and sent once per tick by arithmetic on arrays.

Its rules are numbered in docs/discussion/media.md.
"""
