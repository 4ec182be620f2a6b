"""MoQ legs: programs and browsers whose calls are tracks of objects over WebTransport.

`request` says what is asked for, `numbering` where an object is heard, `talk` what both ends publish and
subscribe to, `leg` what that means for a leg, and `inbound` how one comes to be.
"""
