package wire

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"testing"
)

var (
	sealKey  = bytes.Repeat([]byte{7}, 32)
	signKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	verifyBy = signKey.Public().(ed25519.PublicKey)
	ann, bob = ID{1}, ID{2}
	sealTo   = netip.MustParseAddr("192.0.2.1")
)

// sealedPacket is a packet with fields and records of many kinds.
func sealedPacket(t testing.TB, sign bool) []byte {
	stamp := uint64(77)
	ext, err := AppendRecord(nil, Hello{Part: PartNode, Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if ext, err = AppendRecord(ext, Pad(make([]byte, 700))); err != nil { // more than one CC
		t.Fatal(err)
	}
	p := &Packet{Role: FromClient, Release: ReleaseSonde, Sequence: 5, ID: ann, Stamp: &stamp, Local: netip.MustParseAddrPort("10.0.0.1:5000"), Ext: ext}
	if sign {
		if err := p.Sign(signKey, ann, bob, 1234, sealTo); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Authenticate(sealKey, ann, bob, Auth{Time: 1234, Counter: 9}, sealTo); err != nil {
		t.Fatal(err)
	}
	b, err := p.Append(nil, sealTo)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAuth(t *testing.T) {
	b := sealedPacket(t, true)
	if a, err := VerifyAuth(b, sealKey, ann, bob); err != nil || a.Time != 1234 || a.Counter != 9 {
		t.Errorf("%+v, %v", a, err)
	}
	if s, err := VerifySign(b, verifyBy, ann, bob); err != nil || s.Time != 1234 {
		t.Errorf("%+v, %v", s, err)
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)).Public().(ed25519.PublicKey)
	for name, check := range map[string]func() error{
		"another key":      func() error { _, err := VerifyAuth(b, bytes.Repeat([]byte{8}, 32), ann, bob); return err },
		"another sender":   func() error { _, err := VerifyAuth(b, sealKey, bob, bob); return err },
		"another receiver": func() error { _, err := VerifyAuth(b, sealKey, ann, ann); return err },
		"sent back":        func() error { _, err := VerifyAuth(b, sealKey, bob, ann); return err },
		"another signer":   func() error { _, err := VerifySign(b, other, ann, bob); return err },
		"signed for other": func() error { _, err := VerifySign(b, verifyBy, ann, ann); return err },
	} {
		if check() == nil {
			t.Errorf("%s: passes", name)
		}
	}
	// Each byte counts, with the checksum set right again.
	for i := range len(b) - checksumLen {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		sum := Checksum(bad[:len(bad)-checksumLen])
		bad[len(bad)-2], bad[len(bad)-1] = byte(sum>>8), byte(sum)
		if _, err := VerifyAuth(bad, sealKey, ann, bob); err == nil {
			t.Errorf("byte %d can be changed", i)
		}
	}
}

// What is behind the records is not covered, so nothing may be.
func TestAuthCoversAll(t *testing.T) {
	b := sealedPacket(t, false)
	more := append(bytes.Clone(b[:len(b)-checksumLen]), byte(Shutdown), 3, 1)
	sum := Checksum(more)
	if _, err := VerifyAuth(append(more, byte(sum>>8), byte(sum)), sealKey, ann, bob); err == nil {
		t.Error("a field behind CC passes")
	}
	if _, err := VerifySign(b, verifyBy, ann, bob); err == nil {
		t.Error("a packet that is not signed passes for one that is")
	}
}

func FuzzVerify(f *testing.F) {
	good := sealedPacket(f, true)
	f.Add(good)
	f.Add(sealedPacket(f, false))
	front, stream, _, err := sealed(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// Where CC is cut carries no meaning and is not covered; all else is.
		if s, err := VerifySign(b, verifyBy, ann, bob); err == nil {
			gotFront, gotStream, _, _ := sealed(b)
			if !bytes.Equal(gotFront, front) || !bytes.HasPrefix(gotStream, stream[:len(stream)-AuthSize]) {
				t.Fatalf("% x passes as signed at %d", b, s.Time)
			}
		}
		VerifyAuth(b, sealKey, ann, bob)
	})
}
