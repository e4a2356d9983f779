package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A file is a part of an archive or a package.
type file struct {
	from    string // on this machine
	archive string // path in an archive; "" if it is not in there
	pack    string // path in a package; "" if it is not in there
	mode    os.FileMode
	config  bool   // may be edited: an upgrade keeps it
	link    string // pack is a link to this
	only    string // the one package format that it is for; "" for all
}

// borrowed are the names of older programs that sonde answers to. Packages keep
// them in a folder of their own, since other packages may own them elsewhere.
var borrowed = []string{"btest", "btest-server-pro", "rperf", "ptpclient", "ptpserver", "ptptest"}

const borrowedFolder = "/usr/lib/sonde/names/"

// files are what is in the archive and in the packages of a target.
func (r *release) files(t target, program string) ([]file, error) {
	list := []file{{from: program, archive: t.program(), pack: "/usr/bin/sonde", mode: 0o755}}
	add := func(from, archive, pack string, mode os.FileMode) *file {
		list = append(list, file{from: filepath.Join(r.root, from), archive: archive, pack: pack, mode: mode})
		return &list[len(list)-1]
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "LICENSE", "NOTICE"} {
		add(name, name, "/usr/share/doc/sonde/"+name, 0o644)
	}
	pages, err := filepath.Glob(filepath.Join(r.root, "docs/man/*.1"))
	if err != nil || len(pages) == 0 {
		return nil, fmt.Errorf("docs/man: no manual pages, %v", err)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		pack := "/usr/share/man/man1/" + name
		if !strings.HasPrefix(name, "sonde") {
			pack = "/usr/lib/sonde/man/man1/" + name // of a borrowed name: another package may have it
		}
		add("docs/man/"+name, "man/"+name, pack, 0o644)
	}
	for from, pack := range map[string]string{
		"sonde.bash": "/usr/share/bash-completion/completions/sonde",
		"_sonde":     "/usr/share/zsh/vendor-completions/_sonde",
		"sonde.fish": "/usr/share/fish/vendor_completions.d/sonde.fish",
		"sonde.ps1":  "",
	} {
		add("docs/completion/"+from, "completion/"+from, pack, 0o644)
	}
	config := add("packaging/sonde.yaml", "sonde.yaml", "/etc/sonde/sonde.yaml", 0o644)
	config.config = true
	if t.os == "linux" {
		add("packaging/systemd/sonde.service", "systemd/sonde.service", "/usr/lib/systemd/system/sonde.service", 0o644)
		add("packaging/openrc/sonde", "openrc/sonde", "/etc/init.d/sonde", 0o755).only = "apk"
	}
	if t.nano {
		add("packaging/openwrt/sonde.init", "openwrt/sonde.init", "", 0o755)
		add("packaging/openwrt/sonde.config", "openwrt/sonde.config", "", 0o644)
	}
	for _, name := range borrowed {
		list = append(list, file{pack: path.Join(borrowedFolder, name), link: "/usr/bin/sonde"})
	}
	return list, nil
}
