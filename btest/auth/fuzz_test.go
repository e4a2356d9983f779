package auth

import (
	"encoding/hex"
	"errors"
	"testing"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The keys of a recorded login, user test, between client and server of
// btest-rs 0.6.3: frames without their length byte.
const (
	recordedClientKey = "74657374003daa14eb0a0c1bf5b085978c611c366c1feb2577fe1d245011149c4fb262fa9401"
	recordedServerKey = "5935a19cca6d12df6263fe01b52c971100e1e574c08412a78855aa1f455fc18201ed24886d51225d2f31c93e60f4fb578e"
)

func FuzzParseRecord(f *testing.F) {
	b, _ := factory.record.AppendBinary(nil)
	f.Add(b)
	f.Add(make([]byte, RecordLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		if out, _ := r.AppendBinary(nil); string(out) != string(b) {
			t.Fatalf("%x became %x", b, out)
		}
		text, _ := r.MarshalText()
		var again Record
		if err := again.UnmarshalText(text); err != nil || again != r {
			t.Fatalf("%s became %#v, %v", text, again, err)
		}
		if _, err := NewServer(r, true, newRandom(1)); err != nil {
			t.Fatalf("NewServer: %v", err)
		}
	})
}

func FuzzUnmarshalRecord(f *testing.F) {
	f.Add(factory.text)
	f.Fuzz(func(t *testing.T, text string) {
		var r Record
		if err := r.UnmarshalText([]byte(text)); err != nil {
			if r != (Record{}) {
				t.Fatalf("a failure left %#v", r)
			}
			return
		}
		out, _ := r.MarshalText()
		var again Record
		if err := again.UnmarshalText(out); err != nil || again != r {
			t.Fatalf("%q became %s, %v", text, out, err)
		}
	})
}

// FuzzClientKey gives the server anybody's first message and a confirmation
// that may follow it. None may pass, and all that is not refused must come to
// the oracle's z.
func FuzzClientKey(f *testing.F) {
	f.Add(unhex(f, recordedClientKey), []byte{})
	for _, x := range srpVectorsOf(f).Exchanges {
		f.Add([]byte(x.Wire.Msg1[1:]), []byte(x.Client.Confirm))
	}
	for key := range smallPoints(f) {
		m, _ := wire.ClientKey{Name: "ann", Key: key}.AppendBinary(nil)
		f.Add(m, []byte{})
	}
	f.Fuzz(func(t *testing.T, message, confirm []byte) {
		m, err := wire.ParseClientKey(message)
		if err != nil {
			return
		}
		server := newServer(t, true)
		key, err := server.Key(m)
		wa, lifts := oracleLift(integer(m.Key.X), uint(m.Key.Parity))
		if err != nil {
			eighth := multiplyAll(integersOf(u(8)), []affine{wa})[0]
			if _, ok := errors.AsType[*KeyError](err); !ok || lifts && eighth.finite {
				t.Fatalf("Key = %v", err)
			}
			return
		}
		if !lifts {
			t.Fatalf("Key takes %x, %d", m.Key.X, m.Key.Parity)
		}
		if wb, ok := lift(key.Key); !ok || isSmall(wb) {
			t.Fatalf("Key answers %x, %d", key.Key.X, key.Key.Parity)
		}
		jGamma := multiplyAll(integersOf(server.session), []affine{weierstrass(server.gamma)})
		sum := addAll([]affine{wa}, jGamma)
		z := multiplyAll(integersOf(server.secret), sum)[0]
		if got := weierstrass(multiply(server.secret, server.sum())); got != z {
			t.Fatalf("z of %x, %d differs from the oracle's", m.Key.X, m.Key.Parity)
		}
		var c [32]byte
		copy(c[:], confirm)
		if answer, ok := server.Check(c); ok || answer != [32]byte{} {
			t.Fatalf("Check(%x) = %x, %v", c, answer, ok)
		}
	})
}

// FuzzServerKey gives the client anybody's second message and a confirmation
// that may follow it. None may pass.
func FuzzServerKey(f *testing.F) {
	f.Add(unhex(f, recordedServerKey), []byte{})
	f.Add(unhex(f, capturedServerKey), []byte{})
	for _, x := range srpVectorsOf(f).Exchanges {
		f.Add([]byte(x.Wire.Msg2[1:]), []byte(x.ServerConfirm))
	}
	f.Fuzz(func(t *testing.T, message, confirm []byte) {
		m, err := wire.ParseServerKey(message)
		if err != nil {
			return
		}
		client, err := NewClient("ann", "secret", newRandom(6001))
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Confirm(m)
		if err != nil {
			if _, ok := errors.AsType[*KeyError](err); !ok || got != [32]byte{} {
				t.Fatalf("Confirm = %x, %v", got, err)
			}
		} else if _, lifts := oracleLift(integer(m.Key.X), uint(m.Key.Parity)); !lifts {
			t.Fatalf("Confirm takes %x, %d", m.Key.X, m.Key.Parity)
		}
		var c [32]byte
		copy(c[:], confirm)
		for _, c := range [][32]byte{c, {}, got} {
			if err := client.Verify(c); !errors.Is(err, ErrServerProof) {
				t.Fatalf("Verify(%x) = %v", c, err)
			}
		}
	})
}

// FuzzLift compares with the oracle on any 32 bytes.
func FuzzLift(f *testing.F) {
	for n := range byte(30) {
		x := u(n)
		f.Add(x[:], n&1)
	}
	p := bytes32(oracleP)
	f.Add(p[:], byte(0))
	f.Add(minusOne[:], byte(0))
	f.Fuzz(func(t *testing.T, b []byte, parity byte) {
		var x [32]byte
		copy(x[:], b)
		got, ok := lift(wire.PublicKey{X: x, Parity: parity})
		want, wantOK := oracleLift(integer(x), uint(parity))
		if ok != wantOK || ok && weierstrass(got) != want {
			t.Fatalf("lift(%x, %d) = %v, want %v", x, parity, ok, wantOK)
		}
		if ok && got.Equal(edwards25519.NewIdentityPoint()) == 1 {
			t.Fatalf("lift(%x, %d) is neutral", x, parity)
		}
	})
}
