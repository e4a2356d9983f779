// Package testnet gives the tests of the protocols a network whose faults are
// known exactly. Nothing but tests may import it.
//
// There are three networks, from the fastest to the truest:
//
//   - Network lives in memory. Its hosts offer DialContext, Listen and
//     ListenPacket with the signatures of net.Dialer and net.ListenConfig. It
//     opens no sockets and keeps no goroutines, so it can be used inside
//     testing/synctest, where an hour passes in a moment and a rate is exact.
//   - Relay stands between real sockets on the loopback interface and a real
//     server, and treats what passes as a Link says.
//   - Namespace (Linux, root) is a network namespace with the kernel's own
//     stack, joined to others by Wire, or by NewPath, which does what a Link
//     says; with routes, bridges, masquerade and rules that drop. A test that makes
//     one is skipped where they cannot be had.
//
// # What is emulated
//
// A Link is one direction: delay, jitter that keeps the order, loss, duplicates,
// reordering, a bottleneck with a rate and a tail-drop queue, an MTU. A Line is a
// Link at work and counts what it did: a test compares what was measured with
// what was done, not with what was asked for. The same Seed and the same packets
// in the same order give the same faults.
//
// A Link carries IP packets: Rate, Queue and MTU count the header of IP (20
// bytes, for IPv6 40) and of UDP (8) or TCP (20, without options), but no
// Ethernet. A stream of full segments over an MTU of 1500 thus gets 1460/1500 of
// Rate.
//
// In memory, TCP is a small one of its own: handshake, sliding window, an
// acknowledgement for each segment, the congestion window of RFC 5681,
// retransmission after three later segments were acknowledged or after the
// time-out of RFC 6298 (at least 200 ms, as on Linux), FIN, RST, ETIMEDOUT.
// Errors are those of Linux, wrapped as package net does; one set of tests holds
// for the memory and for the kernel.
//
// # What is not
//
// In memory there is no DNS, ICMP but for the refusal of a connected UDP
// socket, fragmentation, multicast, TTL or DSCP, and no socket options beyond
// buffer sizes and SO_LINGER. A packet to an address that no host has vanishes.
// A sender without a limit never lets the fake clock move unless its own link
// has a Rate and Wait. There are no NATs in memory; use namespaces.
//
// A Relay cannot lose a part of a kernel's TCP stream: what Loss picks is held
// for a retransmission's time instead, with all that follows. Nor can it hide
// the acknowledgements of the two kernels: Relay.Unplug stops the bytes, but a
// user time-out or keep-alive does not notice. Path and Namespace.Drop do both.
//
// A Path needs no netem, which a kernel may lack; but a process carries its
// packets, so it is no place to measure how fast something is.
package testnet
