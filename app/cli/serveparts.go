//go:build !nano

package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/rperf"
	"github.com/sonde-net/sonde/twamp"
)

// A part is a server that sonde serve runs, as the configuration has it.
type part struct {
	name     string // such as "btest": of the section, of sockets that the service manager hands over
	settings string // the same text means the same settings
	// sockets says that the server has UDP sockets at its listening address, so
	// that no two of its kind can run at once.
	sockets bool
	service
}

// section is where the file has it.
func (p part) section() string {
	if p.name == "web" {
		return p.name
	}
	return "server." + p.name
}

// serverParts are the servers that listen on TCP: how the flags of each become a
// service. A key of its section is a flag of its command.
var serverParts = []struct {
	name    string
	sockets bool
	there   func(config.Servers) bool
	make    func(e *env, o *output, fs *pflag.FlagSet, stored bool) func() (service, error)
}{
	{"btest", false, func(s config.Servers) bool { return s.Btest != nil }, func(e *env, o *output, fs *pflag.FlagSet, stored bool) func() (service, error) {
		var f btestServerFlags
		f.register(fs)
		return func() (service, error) {
			f.stored = stored && f.users == "" && f.login.name == "" && !f.login.passwordGiven(e)
			return f.service(context.Background(), e, o, &btest.Server{})
		}
	}},
	{"rperf", false, func(s config.Servers) bool { return s.Rperf != nil }, func(_ *env, o *output, fs *pflag.FlagSet, _ bool) func() (service, error) {
		var f rperfServerFlags
		s := &rperf.Server{}
		f.register(fs, s)
		return func() (service, error) {
			run, err := f.apply(fs, s)
			return rperfService(o, run, s), err
		}
	}},
	{"iperf3", true, func(s config.Servers) bool { return s.Iperf3 != nil }, func(_ *env, o *output, fs *pflag.FlagSet, _ bool) func() (service, error) {
		var f iperf3ServerFlags
		s := &iperf3.Server{}
		f.register(fs, s)
		f.registerLimits(fs)
		return func() (service, error) {
			run, err := f.apply(o, fs, s)
			return iperf3Service(o, run, s), err
		}
	}},
	{"twamp", true, func(s config.Servers) bool { return s.Twamp != nil }, func(e *env, o *output, fs *pflag.FlagSet, _ bool) func() (service, error) {
		var f twampServerFlags
		s := &twamp.Server{}
		f.register(fs, s)
		return func() (service, error) { return f.service(e, o, s, fs) }
	}},
}

// build makes the servers of a configuration, which sends and opens nothing. The
// error has all that is wrong.
func build(e *env, o *output, l *config.Loaded) ([]part, error) {
	var parts []part
	var faults []error
	for _, one := range serverParts {
		if !one.there(l.Server) {
			continue
		}
		fs := pflag.NewFlagSet(one.name, pflag.ContinueOnError)
		section := "server." + one.name
		p := part{name: one.name, sockets: one.sockets}
		make := one.make(e, o, fs, l.Store.DSN != "")
		settings, err := setFlags(fs, l, section)
		if err == nil {
			p.settings = settings
			if p.service, err = make(); err == nil {
				err = p.validate()
			}
			err = sectionFault(fs, l, section, err)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		parts = append(parts, p)
	}
	return parts, config.Join(faults...)
}

// setFlags gives flags the values of the keys of their names, and returns what
// tells these settings from others: the values, and what is in files they name.
func setFlags(fs *pflag.FlagSet, l *config.Loaded, section string) (string, error) {
	var faults []error
	var settings strings.Builder
	for key, texts := range l.Values(section) {
		name := strings.ReplaceAll(key, "_", "-")
		flag := fs.Lookup(name)
		if flag == nil {
			faults = append(faults, l.Fault(section+"."+key, "there is no flag --%s", name))
			continue
		}
		fmt.Fprintf(&settings, "%s=%q\n", key, texts)
		if err := setFlag(fs, flag, texts); err != nil {
			faults = append(faults, l.Fault(section+"."+key, "%s: %v", strings.Join(texts, ", "), err))
			continue
		}
		if flag.Value.Type() != "string" {
			continue
		}
		if b, err := os.ReadFile(flag.Value.String()); err == nil {
			fmt.Fprintf(&settings, "%x\n", sha256.Sum256(b))
		}
	}
	return settings.String(), config.Join(faults...)
}

func setFlag(fs *pflag.FlagSet, flag *pflag.Flag, texts []string) error {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		flag.Changed = true
		return list.Replace(texts)
	}
	text := strings.Join(texts, ",")
	if text == "" && len(texts) == 0 {
		return nil // an empty list is none
	}
	if err := fs.Set(flag.Name, text); err != nil {
		if value, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			return valueFault(value)
		}
		return cmp.Or(errors.Unwrap(err), err)
	}
	return nil
}

// flagWord is a flag in what a command says of its flags.
var flagWord = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)

// sectionFault tells what is wrong with the flags of a section in the words of
// the file, with the line of the first key that it names.
func sectionFault(fs *pflag.FlagSet, l *config.Loaded, section string, err error) error {
	if err == nil {
		return nil
	}
	at := ""
	text := flagWord.ReplaceAllStringFunc(err.Error(), func(word string) string {
		if fs.Lookup(word[2:]) == nil {
			return word
		}
		key := strings.ReplaceAll(word[2:], "-", "_")
		if at == "" && l.Given(section+"."+key) {
			at = "." + key
		}
		return key
	})
	var faults []error
	for line := range strings.SplitSeq(text, "\n") {
		faults = append(faults, l.Fault(section+at, "%s", strings.TrimPrefix(line, strings.TrimPrefix(at, ".")+" ")))
	}
	return config.Join(faults...)
}
