"""RTP and RTCP: packets, statistics, telephone-events, ports and the sockets of a leg."""
