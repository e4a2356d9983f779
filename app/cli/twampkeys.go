package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/twamp/auth"
)

// mostKeyFile bounds a key file, in bytes.
const mostKeyFile = 1 << 20

// keyFlags name a shared secret: the file it stands in, and its name there.
type keyFlags struct{ file, id string }

func (f *keyFlags) registerFile(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "key-file", "", "`FILE` of keys, mode 0600, a line KEYID PASSPHRASE or KEYID hex:OCTETS for each")
}

func (f *keyFlags) register(fs *pflag.FlagSet) {
	f.registerFile(fs)
	fs.StringVar(&f.id, "key-id", "", "`NAME` of the key to use of --key-file")
}

// secret is the one that the flags name; the zero Secret without them.
func (f *keyFlags) secret(getenv func(string) string) (auth.Secret, error) {
	switch {
	case f.file == "" && f.id == "":
		return auth.Secret{}, nil
	case f.id == "":
		return auth.Secret{}, misuse("", "%s: which key of it? give its name with --key-id", flagValue("key-file", f.file))
	case f.file == "":
		return auth.Secret{}, misuse("", "%s: its secret is missing; give the file that has it with --key-file", flagValue("key-id", f.id))
	}
	keys, err := readKeys(f.file, getenv)
	if err != nil {
		return auth.Secret{}, err
	}
	s := keys.Secret(f.id)
	if s.IsZero() {
		return s, misuse("", "%s: no such key in %s; give the name that begins its line", flagValue("key-id", f.id), f.file)
	}
	return s, nil
}

// readKeys reads a key file. All faults are told at once.
func readKeys(path string, getenv func(string) string) (auth.Keys, error) {
	file, err := os.Open(path)
	if err != nil {
		return auth.Keys{}, fileError(flagValue("key-file", path), "a line KEYID PASSPHRASE for each key", err)
	}
	defer file.Close()
	if err := checkOwn(file, getenv); err != nil {
		return auth.Keys{}, err
	}
	b, err := io.ReadAll(io.LimitReader(file, mostKeyFile+1))
	if err != nil {
		return auth.Keys{}, fileError(flagValue("key-file", path), "", err)
	}
	if len(b) > mostKeyFile {
		return auth.Keys{}, misuse("", "%s: longer than %d bytes; want a line KEYID PASSPHRASE for each key", flagValue("key-file", path), mostKeyFile)
	}
	keys, err := auth.ParseKeys(b)
	if err != nil {
		return auth.Keys{}, misuse("", "%w", keyFaults(path, err))
	}
	if keys.Len() == 0 {
		return auth.Keys{}, misuse("", "%s: no key in it; write a line KEYID PASSPHRASE for each", flagValue("key-file", path))
	}
	return keys, nil
}

// keyFaults puts the file and the line before each fault.
func keyFaults(path string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	var faults []error
	for _, one := range joined.Unwrap() {
		if l, ok := errors.AsType[*auth.LineError](one); ok {
			one = fmt.Errorf("%s:%d: %s; want KEYID PASSPHRASE, or KEYID hex:OCTETS", path, l.Line, l.Problem)
		}
		faults = append(faults, one)
	}
	return errors.Join(faults...)
}

// checkOwn refuses a key file that anybody else can read. One that the service
// manager hands over has the rights that it sets.
func checkOwn(f *os.File, getenv func(string) string) error {
	if err := checkPrivate("key-file", f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return fileError(flagValue("key-file", f.Name()), "", err)
	}
	if folder := getenv("CREDENTIALS_DIRECTORY"); folder != "" && strings.HasPrefix(filepath.Clean(f.Name()), filepath.Clean(folder)+string(filepath.Separator)) {
		return nil
	}
	if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return misuse("", "%s: others can read this file of secrets (mode %04o); run chmod 600 %s", flagValue("key-file", f.Name()), info.Mode().Perm(), f.Name())
	}
	return nil
}
