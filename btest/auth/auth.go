// Package auth is the two logins of the MikroTik bandwidth test: the MD5
// challenge of RouterOS 6 and EC-SRP5, which came with RouterOS 6.43.
//
// It is pure: values in, values out. Randomness comes from a reader that the
// caller gives, messages are those of btest/wire, and sending them, waiting
// after a failure and counting failures are left to the session.
//
// # EC-SRP5
//
// Both ends prove that they know the password, and someone who listens learns
// nothing to guess with. The names are those of the descriptions of Winbox,
// which uses the same scheme in other frames. H is SHA-256, || joins, G is the
// even point with u = 9, r its order, and a point used as bytes is its u.
//
//	record:  i = H(salt || H(name || ":" || password)),  gamma = i·G
//	client:  W_a = s_a·G                                        ClientKey →
//	server:  W_b = s_b·G + blind(gamma, 0)                      ← ServerKey
//	both:    j = H(W_a || W_b)
//	client:  z = (i·j + s_a mod r) · (W_b + blind(gamma, 1))
//	server:  z = s_b · (W_a + j·gamma)
//	client:  H(j || z)                                          confirm →
//	server:  H(j || H(j || z) || z)                             ← confirm
//
// blind hashes to the curve; its two points for one x are each other's
// negative, so the client takes off what the server put on. A record replaces
// the password on the server, but not for a thief: i is two plain hashes, fast
// to guess. Keep records as secret as passwords.
//
// Time does not depend on secrets: scalars are walked bit by bit with the same
// steps for 0 and 1, and blind makes the same number of tries for every x.
package auth
