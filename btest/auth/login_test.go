package auth

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

// alphabet is what random names and passwords are made of: colons, spaces,
// letters of two, three and four bytes, a byte that is no UTF-8.
var alphabet = []string{"a", "Z", "0", ":", " ", "\t", "/", "ā", "ß", "я", "語", "🛰", "\xff"}

func drawText(random *rand.Rand, longest int) string {
	var b strings.Builder
	for n := random.IntN(longest + 1); b.Len() < n; {
		if random.IntN(2) == 0 {
			b.WriteByte(byte('!' + random.IntN(94)))
			continue
		}
		b.WriteString(alphabet[random.IntN(len(alphabet))])
	}
	return b.String()[:min(b.Len(), longest)]
}

func drawLogin(source *rand.ChaCha8) *login {
	random := rand.New(source)
	l := &login{name: drawText(random, 24), clientPassword: drawText(random, 40), sa: draw32(source), sb: draw32(source)}
	if random.IntN(50) == 0 {
		l.name = drawText(random, wire.MaxSRPName)
	}
	l.serverPassword = l.clientPassword
	source.Read(l.salt[:])
	return l
}

// inStep is how many logins the oracle calculates together.
const inStep = 250

// TestLogins logs in with random names, passwords and salts: our client at the
// oracle's server and the oracle's client at ours. None may fail.
func TestLogins(t *testing.T) {
	logins := 10_000
	if testing.Short() {
		logins = 500
	}
	for batch := range logins / inStep {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			source := newRandom(1000 + uint64(batch))
			var ls []*login
			for range inStep {
				ls = append(ls, drawLogin(source))
			}
			oracleLogins(ls)
			for _, l := range ls {
				clientMeetsOracle(t, l)
				serverMeetsOracle(t, l)
			}
		})
	}
}

// TestWrongPasswords does the same with two passwords. None may pass, and even
// so every byte must be the oracle's.
func TestWrongPasswords(t *testing.T) {
	logins := 1000
	if testing.Short() {
		logins = 250
	}
	for batch := range logins / inStep {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			source := newRandom(2000 + uint64(batch))
			var ls []*login
			for n := range inStep {
				l := drawLogin(source)
				l.serverPassword = misspell(l.clientPassword, n)
				ls = append(ls, l)
			}
			oracleLogins(ls)
			for _, l := range ls {
				clientMeetsOracle(t, l)
				serverMeetsOracle(t, l)
			}
		})
	}
}

// misspell changes a password a little.
func misspell(password string, n int) string {
	switch {
	case n%3 == 0 && password != "":
		return password[:len(password)-1]
	case n%3 == 1:
		return password + "\x00"
	}
	return " " + password
}

// TestTorsion logs in clients whose keys are no multiple of G: unknown to them a
// point of small order was added. The server's z must be the oracle's, which a
// server that reduces s_b modulo r does not find.
func TestTorsion(t *testing.T) {
	source := newRandom(3000)
	var ls []*login
	for _, p := range smallPoints(t) {
		for range 5 {
			l := drawLogin(source)
			l.torsion = weierstrass(p)
			ls = append(ls, l)
		}
	}
	oracleLogins(ls)
	reduced := 0
	for _, l := range ls {
		serverMeetsOracle(t, l)
		wa, _ := lift(wire.PublicKey{X: l.xa, Parity: l.pa})
		s := Server{gamma: multiplyG(l.i), client: wa, session: l.j}
		if z := publicKey(new(edwards25519.Point).ScalarMult(scalar(l.sb), s.sum())).X; z != l.serverZ {
			reduced++
		}
	}
	if reduced == 0 {
		t.Error("reducing s_b changes nothing: the test does not show what it is for")
	}
}

// clientMeetsOracle runs our client with the secret s_a against the oracle's
// server.
func clientMeetsOracle(t *testing.T, l *login) {
	t.Helper()
	client, err := NewClient(l.name, l.clientPassword, bytes.NewReader(l.sa[:]))
	if err != nil {
		t.Fatal(err)
	}
	want := wire.ClientKey{Name: l.name, Key: wire.PublicKey{X: l.xa, Parity: l.pa}}
	if got := client.Key(); got != want {
		t.Fatalf("%s: Key = %x\nwant %x", l, got, want)
	}
	confirm, err := client.Confirm(wire.ServerKey{Key: wire.PublicKey{X: l.xb, Parity: l.pb}, Salt: l.salt})
	if err != nil || confirm != l.confirm {
		t.Fatalf("%s: Confirm = %x, %v\nwant %x", l, confirm, err, l.confirm)
	}
	err = client.Verify(l.serverConfirm)
	if l.right() && err != nil || !l.right() && !errors.Is(err, ErrServerProof) {
		t.Fatalf("%s: Verify = %v", l, err)
	}
}

// serverMeetsOracle runs our server with the secret s_b against the oracle's
// client.
func serverMeetsOracle(t *testing.T, l *login) {
	t.Helper()
	record := NewRecord(l.name, l.serverPassword, l.salt)
	if want := (Record{l.salt, l.xGamma, l.pGamma}); record != want {
		t.Fatalf("%s: NewRecord = %#v\nwant %#v", l, record, want)
	}
	server, err := NewServer(record, true, bytes.NewReader(l.sb[:]))
	if err != nil {
		t.Fatal(err)
	}
	key, err := server.Key(wire.ClientKey{Name: l.name, Key: wire.PublicKey{X: l.xa, Parity: l.pa}})
	want := wire.ServerKey{Key: wire.PublicKey{X: l.xb, Parity: l.pb}, Salt: l.salt}
	if err != nil || key != want {
		t.Fatalf("%s: Key = %x, %v\nwant %x", l, key, err, want)
	}
	if l.confirm != l.expected { // or Check would show it
		if z := publicKey(multiply(server.secret, server.sum())).X; z != l.serverZ {
			t.Fatalf("%s: z = %x\nwant %x", l, z, l.serverZ)
		}
	}
	// The oracle's client is right just when its confirmation is the expected.
	serverConfirm, ok := server.Check(l.confirm)
	switch {
	case ok != (l.confirm == l.expected), !l.torsion.finite && ok != l.right():
		t.Fatalf("%s: Check = %v", l, ok)
	case ok && serverConfirm != l.serverConfirm:
		t.Fatalf("%s: Check = %x\nwant %x", l, serverConfirm, l.serverConfirm)
	case !ok && serverConfirm != [32]byte{}:
		t.Fatalf("%s: a refused client got %x", l, serverConfirm)
	}
}

func (l *login) right() bool { return l.clientPassword == l.serverPassword }

func (l *login) String() string {
	return fmt.Sprintf("name %q, passwords %q and %q, salt %x, secrets %x and %x",
		l.name, l.clientPassword, l.serverPassword, l.salt, l.sa, l.sb)
}

func newServer(t testing.TB, known bool) *Server {
	server, err := NewServer(NewRecord("ann", "secret", [16]byte{1}), known, newRandom(6000))
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// converse runs our client against our server up to the client's confirmation.
func converse(t testing.TB, server *Server, name, password string) (*Client, [32]byte) {
	client, err := NewClient(name, password, newRandom(6001))
	if err != nil {
		t.Fatal(err)
	}
	key, err := server.Key(client.Key())
	if err != nil {
		t.Fatal(err)
	}
	confirm, err := client.Confirm(key)
	if err != nil {
		t.Fatal(err)
	}
	return client, confirm
}

// TestNotKnown logs in with the right password as a disabled user.
func TestNotKnown(t *testing.T) {
	server := newServer(t, false)
	_, confirm := converse(t, server, "ann", "secret")
	if got, ok := server.Check(confirm); ok || got != [32]byte{} {
		t.Errorf("Check = %x, %v", got, ok)
	}
}

// TestCheckOnce: one session, one guess.
func TestCheckOnce(t *testing.T) {
	server := newServer(t, true)
	if _, ok := server.Check([32]byte{}); ok {
		t.Error("Check passes before Key")
	}
	_, confirm := converse(t, server, "ann", "secret")
	wrong := confirm
	wrong[31] ^= 1
	if _, ok := server.Check(wrong); ok {
		t.Error("Check passes a wrong confirmation")
	}
	if _, ok := server.Check(confirm); ok {
		t.Error("Check passes the right confirmation after a wrong one")
	}
}

// TestVerify refuses every confirmation but one.
func TestVerify(t *testing.T) {
	early, err := NewClient("ann", "secret", newRandom(7000))
	if err != nil {
		t.Fatal(err)
	}
	if err := early.Verify([32]byte{}); !errors.Is(err, ErrServerProof) {
		t.Errorf("Verify before Confirm = %v", err)
	}
	server := newServer(t, true)
	client, confirm := converse(t, server, "ann", "secret")
	right, ok := server.Check(confirm)
	if !ok {
		t.Fatal("refused")
	}
	for n := range 256 {
		wrong := right
		wrong[n/8] ^= 1 << (n % 8)
		if err := client.Verify(wrong); !errors.Is(err, ErrServerProof) {
			t.Fatalf("Verify with bit %d changed = %v", n, err)
		}
	}
	for what, wrong := range map[string][32]byte{"the client's own": confirm, "zeros": {}} {
		if err := client.Verify(wrong); !errors.Is(err, ErrServerProof) {
			t.Errorf("Verify of %s = %v", what, err)
		}
	}
	if err := client.Verify(right); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

// TestBrokenRandom: too short, all zero, and r itself, which is zero for G.
func TestBrokenRandom(t *testing.T) {
	r := bytes32(oracleR)
	for what, random := range map[string][]byte{"short": make([]byte, 31), "zeros": make([]byte, 32), "r": r[:]} {
		if c, err := NewClient("ann", "secret", bytes.NewReader(random)); err == nil {
			t.Errorf("NewClient with %s = %v", what, c.Key())
		}
		record := NewRecord("ann", "secret", [16]byte{})
		if _, err := NewServer(record, true, bytes.NewReader(random)); err == nil {
			t.Errorf("NewServer with %s gives no error", what)
		}
	}
}
