"""Third-party peers against a running vb: SIPp, tshark, baresip and the vendor's client.

Nothing here imports vb. A server is started as a subprocess on free loopback ports and driven over its public
interfaces only. `python -m interop` runs every peer that is installed and prints `not run` for the others;
`python -m interop sipp media` runs the named ones.
"""
