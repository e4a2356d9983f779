package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"

	"github.com/sonde-net/sonde/app/secret"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
)

// Secrets are what an account proves itself with.
type Secrets struct {
	Record   auth.Record // of EC-SRP5
	Password *string     // for MD5, which needs it; nil refuses MD5
}

// NewSecrets makes the secrets of a password, with a new salt.
func NewSecrets(name, password string, md5 bool) Secrets {
	s := Secrets{Record: auth.NewRecord(name, password, newSalt())}
	if md5 {
		s.Password = &password
	}
	return s
}

// SecretsFromInner makes the secrets of H(name || ":" || password), SHA-256, of
// which the password cannot be had.
func SecretsFromInner(inner [32]byte) Secrets {
	return Secrets{Record: auth.RecordFromInner(inner, newSalt())}
}

func newSalt() (salt [wire.SaltLen]byte) {
	rand.Read(salt[:])
	return salt
}

// Credentials are what a login of an account is held against.
type Credentials struct {
	Secrets
	Disabled bool
}

// recordLabel and passwordLabel bind what is sealed to its place: a row's secret
// put into another row does not open.
func recordLabel(name string) string   { return "account\x00record\x00" + name }
func passwordLabel(name string) string { return "account\x00password\x00" + name }

// seal is what a row keeps of secrets.
func (s *Store) seal(ctx context.Context, name string, v Secrets) (record, password any, err error) {
	key, err := s.Key(ctx)
	if err != nil {
		return nil, nil, err
	}
	b, _ := v.Record.AppendBinary(nil)
	record = key.Seal(b, recordLabel(name))
	if v.Password != nil {
		password = key.Seal([]byte(*v.Password), passwordLabel(name))
	}
	return record, password, nil
}

// Credentials returns what a login of name is held against; see IsNotFound. A
// record that is damaged, or that another key sealed, is an error: nobody logs in
// by it.
func (s *Store) Credentials(ctx context.Context, name string) (Credentials, error) {
	key, err := s.Key(ctx)
	if err != nil {
		return Credentials{}, err
	}
	var c Credentials
	var is string
	var disabled int64
	var record, password []byte
	err = s.again(ctx, "read a user", func() error {
		err := s.read.QueryRowContext(ctx, "SELECT name, disabled, record, password FROM account WHERE name = $1", text(name)).Scan(&is, &disabled, &record, &password)
		if errors.Is(err, sql.ErrNoRows) || err == nil && is != name {
			return answer{errNotFound}
		}
		return err
	})
	if err != nil {
		return c, err
	}
	c.Disabled = disabled != 0
	if record != nil {
		b, err := key.Open(record, recordLabel(name))
		if err == nil {
			c.Record, err = auth.ParseRecord(b)
		}
		if err != nil {
			return Credentials{}, s.damaged(err)
		}
	}
	if password != nil {
		b, err := key.Open(password, passwordLabel(name))
		if err != nil {
			return Credentials{}, s.damaged(err)
		}
		if len(b) > 0 { // an empty password lets nobody in
			c.Password = new(string(b))
		}
	}
	return c, nil
}

func (s *Store) damaged(err error) error {
	return &Fault{Place: s.place, Doing: "read the secret of a user", Err: err, Hint: "set the password anew: sonde users set NAME --password-file FILE"}
}

// Key is the one that seals the store's secrets. It is made, with its file, for a
// store that has none yet; a key that is missing, damaged or another store's is
// an error, and is looked for again each time.
func (s *Store) Key(ctx context.Context) (*secret.Key, error) {
	s.keyTurn.Lock()
	defer s.keyTurn.Unlock()
	if s.key != nil {
		return s.key, nil
	}
	key, err := s.findKey(ctx)
	if err != nil {
		return nil, err
	}
	s.key = key
	return key, nil
}

// sealed is the known text by which the right key is known.
const sealed = "sonde"

func (s *Store) findKey(ctx context.Context) (*secret.Key, error) {
	fault := func(text, hint string, err error) error {
		return &Fault{Place: s.place, Doing: "open the key of its secrets", Text: text, Hint: hint, Err: err}
	}
	if s.keyFile == "" {
		return nil, fault("no file is given", "give --store-key FILE, the same file for every server of this database", nil)
	}
	proof, err := s.proof(ctx)
	if err != nil {
		return nil, err
	}
	key, err := secret.ReadKey(s.keyFile)
	switch {
	case secret.IsMissing(err) && proof == nil:
		if key, err = secret.NewKey(s.keyFile); err == nil {
			err = giveToOwner(s.keyFile)
		}
		if err != nil {
			return nil, fault("it cannot be made", "its directory has to be writable by the user that the server runs as", err)
		}
	case err != nil:
		return nil, fault("", "restore the file from a backup; nobody can log in without it", err)
	}
	if proof == nil {
		if proof, err = s.prove(ctx, key); err != nil {
			return nil, err
		}
	}
	if text, err := key.Open(proof, "seal"); err != nil || string(text) != sealed {
		return nil, fault(s.keyFile+" is the key of another store", "restore the right file; nobody can log in without it", nil)
	}
	return key, nil
}

// proof is the known text under the store's key, nil if there is none yet.
func (s *Store) proof(ctx context.Context) ([]byte, error) {
	var proof []byte
	err := s.write.QueryRowContext(ctx, "SELECT proof FROM seal WHERE id = 1").Scan(&proof)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return proof, s.explain("read its seal", err)
}

// prove makes key the store's, if no other server was faster; it returns the
// proof that stands.
func (s *Store) prove(ctx context.Context, key *secret.Key) ([]byte, error) {
	err := s.within(ctx, "seal it", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO seal (id, proof) VALUES (1, $1) ON CONFLICT (id) DO NOTHING", key.Seal([]byte(sealed), "seal"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.proof(ctx)
}
