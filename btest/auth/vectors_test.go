package auth

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"testing"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

// hexBytes are bytes that a file of vectors writes in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// hexPoint is a Weierstrass point.
type hexPoint struct{ X, Y hexBytes }

func (p hexPoint) affine() affine {
	return affineOf(new(big.Int).SetBytes(p.X), new(big.Int).SetBytes(p.Y))
}

// exchange is one set of testdata/vectors-ecsrp5.json. Its values come from
// three implementations that agree, one of them Python on a library of elliptic
// curves.
type exchange struct {
	Name           string
	Username       string
	ClientPassword string `json:"client_password"`
	ServerPassword string `json:"server_password"`
	Salt           hexBytes
	SA             hexBytes `json:"s_a"`
	SB             hexBytes `json:"s_b"`
	Record         struct {
		Inner       hexBytes
		I           hexBytes
		XGamma      hexBytes `json:"x_gamma"`
		GammaParity byte     `json:"gamma_parity"`
		Gamma       hexPoint `json:"gamma_weierstrass"`
	} `json:"server_record"`
	Blinding struct {
		hexPoint
		ExtraRounds int `json:"extra_rounds"`
	} `json:"server_blinding_point"`
	ClientPublic struct {
		X      hexBytes `json:"x_w_a"`
		Parity byte
	} `json:"client_public"`
	ServerPublic struct {
		SBG    hexPoint `json:"s_b_times_G"`
		X      hexBytes `json:"x_w_b"`
		Parity byte
	} `json:"server_public"`
	J      hexBytes
	Client struct {
		I       hexBytes
		XGamma  hexBytes `json:"x_gamma"`
		V       hexPoint
		B       hexPoint `json:"unblinded_server_point"`
		K       hexBytes `json:"scalar"`
		Z       hexBytes
		Confirm hexBytes `json:"client_cc"`
	}
	Server struct {
		JGamma   hexPoint `json:"j_times_gamma"`
		Sum      hexPoint
		Z        hexBytes
		Expected hexBytes `json:"expected_client_cc"`
		Accepts  bool
	}
	ServerConfirm hexBytes `json:"server_cc"`
	Wire          struct{ Msg1, Msg2, Msg3, Msg4 hexBytes }
}

type srpVectors struct {
	Curve     map[string]json.RawMessage // names have commas, no good for tags
	Exchanges []exchange                 `json:"sets"`
}

// point is the Weierstrass point of that name.
func (v srpVectors) point(t *testing.T, name string) (p hexPoint) {
	if err := json.Unmarshal(v.Curve[name], &p); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

func load(t testing.TB, file string, into any) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func srpVectorsOf(t testing.TB) (v srpVectors) {
	load(t, "testdata/vectors-ecsrp5.json", &v)
	if len(v.Exchanges) != 5 {
		t.Fatalf("%d exchanges, want 5", len(v.Exchanges))
	}
	return v
}

// weierstrass is where p lies on the curve of the description.
func weierstrass(p *edwards25519.Point) affine {
	if isNeutral(p) {
		return affine{}
	}
	key := publicKey(p)
	v, ok := root(element(key.X), key.Parity)
	if ok != 1 {
		return affine{finite: true} // not on the curve: equal to no point
	}
	return affineOf(new(big.Int).Add(integer(key.X), oracleDelta), integer(bigEndian(v.Bytes())))
}

func samePoint(t *testing.T, what string, got *edwards25519.Point, want hexPoint) {
	t.Helper()
	if g := weierstrass(got); g != want.affine() {
		t.Errorf("%s = %x, %x\nwant %x, %x", what, g.x.bytes(), g.y.bytes(), want.X, want.Y)
	}
}

func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x\nwant %x", what, got, want)
	}
}

// TestExchanges goes through every value of each exchange.
func TestExchanges(t *testing.T) {
	for _, x := range srpVectorsOf(t).Exchanges {
		t.Run(x.Name, func(t *testing.T) {
			record := checkRecord(t, x)
			client, err := NewClient(x.Username, x.ClientPassword, bytes.NewReader(x.SA))
			if err != nil {
				t.Fatal(err)
			}
			server, err := NewServer(record, true, bytes.NewReader(x.SB))
			if err != nil {
				t.Fatal(err)
			}
			checkKeys(t, x, client, server)
			checkClientValues(t, x, client)
			checkServerValues(t, x, server)
			checkConfirms(t, x, client, server)
		})
	}
}

func checkRecord(t *testing.T, x exchange) Record {
	in := inner(x.Username, x.ServerPassword)
	sameBytes(t, "inner", in[:], x.Record.Inner)
	i := exponent([16]byte(x.Salt), in)
	sameBytes(t, "i", i[:], x.Record.I)
	samePoint(t, "gamma", multiplyG(i), x.Record.Gamma)
	want := Record{[16]byte(x.Salt), [32]byte(x.Record.XGamma), x.Record.GammaParity}
	if r := NewRecord(x.Username, x.ServerPassword, [16]byte(x.Salt)); r != want {
		t.Errorf("NewRecord = %#v\nwant %#v", r, want)
	}
	if r := RecordFromInner([32]byte(x.Record.Inner), [16]byte(x.Salt)); r != want {
		t.Errorf("RecordFromInner = %#v\nwant %#v", r, want)
	}
	samePoint(t, "blind", blind(want.X, 0), x.Blinding.hexPoint)
	if _, failed := oracleRedp1(want.X, 0); failed != x.Blinding.ExtraRounds {
		t.Errorf("%d extra rounds, want %d", failed, x.Blinding.ExtraRounds)
	}
	return want
}

// checkKeys compares the first two messages, which leaves both sides where the
// confirmations are due.
func checkKeys(t *testing.T, x exchange, client *Client, server *Server) {
	m1, err := client.Key().AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "message 1", wire.AppendFrame(nil, m1), x.Wire.Msg1)
	want := wire.ClientKey{Name: x.Username, Key: wire.PublicKey{X: [32]byte(x.ClientPublic.X), Parity: x.ClientPublic.Parity}}
	if client.Key() != want {
		t.Errorf("Client.Key = %+v\nwant %+v", client.Key(), want)
	}

	key, err := server.Key(client.Key())
	if err != nil {
		t.Fatal(err)
	}
	m2, _ := key.AppendBinary(nil)
	sameBytes(t, "message 2", wire.AppendFrame(nil, m2), x.Wire.Msg2)
	samePoint(t, "s_b·G", server.sG, x.ServerPublic.SBG)
	if want := (wire.PublicKey{X: [32]byte(x.ServerPublic.X), Parity: x.ServerPublic.Parity}); key.Key != want {
		t.Errorf("Server.Key = %+v\nwant %+v", key.Key, want)
	}
}

func checkClientValues(t *testing.T, x exchange, client *Client) {
	i := exponent([16]byte(x.Salt), client.inner)
	sameBytes(t, "client's i", i[:], x.Client.I)
	gamma := publicKey(multiplyG(i))
	sameBytes(t, "client's x_gamma", gamma.X[:], x.Client.XGamma)
	samePoint(t, "v", blind(gamma.X, 1), x.Client.V)
	wb, ok := lift(wire.PublicKey{X: [32]byte(x.ServerPublic.X), Parity: x.ServerPublic.Parity})
	if !ok {
		t.Fatal("W_b does not lift")
	}
	b := unblind(wb, i)
	samePoint(t, "B", b, x.Client.B)
	j := join(client.key.X, [32]byte(x.ServerPublic.X))
	sameBytes(t, "j", j[:], x.J)
	k := client.factor(i, j)
	sameBytes(t, "k", k[:], x.Client.K)
	z := publicKey(multiply(k, b)).X
	sameBytes(t, "client's z", z[:], x.Client.Z)
}

func checkServerValues(t *testing.T, x exchange, server *Server) {
	sameBytes(t, "server's j", server.session[:], x.J)
	samePoint(t, "j·gamma", multiply(server.session, server.gamma), x.Server.JGamma)
	samePoint(t, "W_a + j·gamma", server.sum(), x.Server.Sum)
	z := publicKey(multiply(server.secret, server.sum())).X
	sameBytes(t, "server's z", z[:], x.Server.Z)
	expected := join(server.session, z)
	sameBytes(t, "expected confirmation", expected[:], x.Server.Expected)
}

func checkConfirms(t *testing.T, x exchange, client *Client, server *Server) {
	m2, err := wire.ParseServerKey(x.Wire.Msg2[1:])
	if err != nil {
		t.Fatal(err)
	}
	confirm, err := client.Confirm(m2)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "message 3", wire.AppendFrame(nil, confirm[:]), x.Wire.Msg3)
	sameBytes(t, "client's confirmation", confirm[:], x.Client.Confirm)
	serverConfirm, ok := server.Check(confirm)
	if ok != x.Server.Accepts {
		t.Fatalf("Check = %v, want %v", ok, x.Server.Accepts)
	}
	if !ok {
		if err := client.Verify(serverConfirm); err == nil || serverConfirm != [32]byte{} {
			t.Errorf("a refused client got %x, Verify = %v", serverConfirm, err)
		}
		return
	}
	sameBytes(t, "server's confirmation", serverConfirm[:], x.ServerConfirm)
	sameBytes(t, "message 4", wire.AppendFrame(nil, serverConfirm[:]), x.Wire.Msg4)
	if err := client.Verify(serverConfirm); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

// TestOracle makes sure that the oracle knows the vectors too.
func TestOracle(t *testing.T) {
	for _, x := range srpVectorsOf(t).Exchanges {
		t.Run(x.Name, func(t *testing.T) {
			l := &login{
				name: x.Username, clientPassword: x.ClientPassword, serverPassword: x.ServerPassword,
				salt: [16]byte(x.Salt), sa: [32]byte(x.SA), sb: [32]byte(x.SB),
			}
			oracleLogins([]*login{l})
			sameBytes(t, "inner", l.inner[:], x.Record.Inner)
			sameBytes(t, "x_wa", l.xa[:], x.ClientPublic.X)
			sameBytes(t, "x_wb", l.xb[:], x.ServerPublic.X)
			sameBytes(t, "k", bytes32Slice(l.k), x.Client.K)
			sameBytes(t, "client's z", l.clientZ[:], x.Client.Z)
			sameBytes(t, "server's z", l.serverZ[:], x.Server.Z)
			sameBytes(t, "client's confirmation", l.confirm[:], x.Client.Confirm)
			sameBytes(t, "expected confirmation", l.expected[:], x.Server.Expected)
			if x.Server.Accepts {
				sameBytes(t, "server's confirmation", l.serverConfirm[:], x.ServerConfirm)
			}
			for what, p := range map[string]struct {
				got  affine
				want hexPoint
			}{
				"gamma": {l.gamma, x.Record.Gamma}, "blind": {l.blind, x.Blinding.hexPoint},
				"s_b·G": {l.sbG, x.ServerPublic.SBG}, "v": {l.v, x.Client.V}, "B": {l.b, x.Client.B},
				"j·gamma": {l.jGamma, x.Server.JGamma}, "sum": {l.sum, x.Server.Sum},
			} {
				if p.got != p.want.affine() {
					t.Errorf("%s = %x, %x\nwant %x, %x", what, p.got.x.bytes(), p.got.y.bytes(), p.want.X, p.want.Y)
				}
			}
		})
	}
}

// TestMD5 has three answers of RouterOS clients, one of a recorded exchange and
// computed ones.
func TestMD5(t *testing.T) {
	var file struct {
		Vectors []struct {
			Password            string
			Challenge, Response hexBytes
			Source              string
		}
		Full struct {
			Username, Password string
			Challenge, Hex     hexBytes
		} `json:"full_48_byte_response"`
	}
	load(t, "testdata/vectors-md5.json", &file)
	if len(file.Vectors) != 7 {
		t.Fatalf("%d vectors, want 7", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		challenge, want := [16]byte(v.Challenge), [16]byte(v.Response)
		if got := MD5(v.Password, challenge); got != want {
			t.Errorf("MD5(%q, %x) = %x, want %x (%s)", v.Password, challenge, got, want, v.Source)
		}
		if !CheckMD5(v.Password, true, challenge, want) {
			t.Errorf("CheckMD5(%q, %x) refuses %x", v.Password, challenge, want)
		}
		if CheckMD5(v.Password, false, challenge, want) {
			t.Errorf("CheckMD5(%q) lets in a user who is not known", v.Password)
		}
		if CheckMD5(v.Password+" ", true, challenge, want) {
			t.Errorf("CheckMD5 takes the answer for %q as one for %q", v.Password, v.Password+" ")
		}
		for n := range want {
			wrong := want
			wrong[n] ^= 0x80
			if CheckMD5(v.Password, true, challenge, wrong) {
				t.Errorf("CheckMD5(%q) takes %x for %x", v.Password, wrong, want)
			}
		}
	}
	full := file.Full
	response := wire.Response{Hash: MD5(full.Password, [16]byte(full.Challenge)), Name: full.Username}
	b, _ := response.AppendBinary(nil)
	sameBytes(t, "response", b, full.Hex)
}
