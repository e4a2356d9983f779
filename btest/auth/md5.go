package auth

import (
	"crypto/md5"
	"crypto/subtle"
)

// MD5 is a client's answer to the challenge of RouterOS 6:
//
//	MD5(password || MD5(password || challenge))
//
// The password counts as the bytes it has, the name not at all. Whoever sees
// challenge and answer can guess passwords offline, millions a second: prefer
// EC-SRP5. Go's FIPS 140 only mode refuses MD5 by a panic.
//
// Source: captures of RouterOS 6 clients; testdata/vectors-md5.json.
func MD5(password string, challenge [16]byte) [16]byte {
	inner := md5.Sum(append([]byte(password), challenge[:]...))
	return md5.Sum(append([]byte(password), inner[:]...))
}

// CheckMD5 reports whether answer is the MD5 of password and challenge. An
// unknown or disabled user takes the same path with known false and any
// password: the work is the same and the result false.
func CheckMD5(password string, known bool, challenge, answer [16]byte) bool {
	want := MD5(password, challenge)
	return subtle.ConstantTimeCompare(want[:], answer[:])&bit(known) == 1
}

// bit is 1 for true. The compiler makes it a move, not a branch.
func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
