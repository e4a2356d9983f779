// Package account is the model of whom a public server serves and how much they
// may do: accounts, addresses, their limits and what they used. It is pure: no
// I/O, no clock.
package account
