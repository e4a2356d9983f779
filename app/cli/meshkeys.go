//go:build !nano

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// A meshKeyFlag is the key of a mesh.
type meshKeyFlag struct {
	file string
	key  *mesh.Key
}

func (f *meshKeyFlag) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "key-file", "", "`FILE` with the key of the mesh, mode 0600, as sonde mesh key makes it; whoever lacks it is not heard")
}

// read reads the file, if there is one.
func (f *meshKeyFlag) read() error {
	text, err := readMeshSecret("key-file", f.file)
	if err != nil || text == "" {
		return err
	}
	if f.key, err = mesh.ParseKey(text); err != nil {
		return misuse("", "%s: %v; make one with sonde mesh key", f.file, err)
	}
	return nil
}

// mostMeshKey bounds a key file, in bytes.
const mostMeshKey = 4096

// readMeshSecret reads a file that nobody else may read; empty without one.
func readMeshSecret(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fileError(flagValue(flag, path), "sonde mesh key makes one", err)
	}
	defer file.Close()
	if err := checkOwn(file, os.Getenv); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(file, mostMeshKey))
	if err != nil {
		return "", fileError(flagValue(flag, path), "", err)
	}
	if len(b) == 0 {
		return "", misuse("", "%s: empty; make one with sonde mesh key", flagValue(flag, path))
	}
	return string(b), nil
}

func meshKeyCommand(e *env) *cobra.Command {
	var signing bool
	cmd := &cobra.Command{
		Use:   "key FILE",
		Short: "make a key for a mesh, so that strangers are not heard",
		Long: `Make a key and write it to FILE, which nobody else may read; a file that is there
stays as it is. Copy it to every server and node, and give it with --key-file: who
has it hears only who has it, too. It proves that packets are of the mesh, not of
which member, and hides nothing.

With --signing it is the key of a server, for sonde mesh server --signing-key-file;
what is printed is its public half, for --server-key of the nodes. They then
believe what that server tells of others, and no member that plays the server.`,
		Example: `  sonde mesh key mesh.key
  sonde mesh key --signing server.key`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return misuse("", "%s: %d files; give one to write the key to", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if !signing {
				return writeMeshSecret(args[0], mesh.NewKey().String())
			}
			k := mesh.NewSigningKey()
			if err := writeMeshSecret(args[0], k.String()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(e.out, k.VerifyKey())
			return err
		},
	}
	cmd.Flags().BoolVar(&signing, "signing", false, "make the signing key of a server, and print its public half")
	return cmd
}

// writeMeshSecret writes a new file that nobody else may read.
func writeMeshSecret(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return misuse("", "%s is there already; choose another name, or remove it if no node has that key", path)
	}
	if err != nil {
		return fileError(path, "", err)
	}
	_, err = fmt.Fprintln(file, text)
	if err = errors.Join(err, file.Close()); err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "write " + path, Err: err}
	}
	return nil
}
