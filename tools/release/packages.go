package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

const description = `measures networks by speaking the protocols already out there
 Clients and servers of the MikroTik bandwidth test, rperf, iperf3, TWAMP,
 STAMP and ptptest in one program, with accounts, quotas, schedules, a terminal
 screen and a web page.`

// dated copies a file of the tree into dir, as old as the release: the apk format
// keeps the time of scripts, which is that of a checkout.
func (r *release) dated(dir, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(r.root, name))
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, filepath.Base(name))
	return to, errors.Join(os.WriteFile(to, b, 0o755), os.Chtimes(to, r.date, r.date))
}

// pack makes the package of one format.
func (r *release) pack(t target, format string, parts []file) (err error) {
	dir, err := os.MkdirTemp("", "scripts")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	after, err1 := r.dated(dir, "packaging/scripts/postinstall.sh")
	before, err2 := r.dated(dir, "packaging/scripts/preremove.sh")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: t.product(), Arch: t.packageArch(), Platform: t.os, Version: r.version, Release: "1", MTime: r.date,
		Section: "net", Priority: "optional", License: "MIT", Vendor: "sonde",
		Maintainer: "The sonde authors <sonde@sonde-net.example>", Homepage: "https://github.com/sonde-net/sonde",
		Description: description,
		Overridables: nfpm.Overridables{
			Contents: r.contents(format, parts),
			Scripts: nfpm.Scripts{
				PostInstall: after,
				PreRemove:   before,
			},
			RPM: nfpm.RPM{BuildHost: "sonde", Summary: "measures networks by speaking the protocols already out there"},
		},
	})
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return packager.Package(info, out)
}

// packageArch is the processor as nfpm takes it.
func (t target) packageArch() string {
	if t.arch == "arm" {
		return "arm" + t.variant
	}
	return t.arch
}

// contents are the parts of a package of that format.
func (r *release) contents(format string, parts []file) files.Contents {
	var list files.Contents
	for _, f := range parts {
		if f.pack == "" || f.only != "" && f.only != format {
			continue
		}
		c := &files.Content{Source: f.from, Destination: f.pack,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: f.mode, MTime: r.date}}
		switch {
		case f.link != "":
			c.Source, c.Type, c.FileInfo.Mode = f.link, files.TypeSymlink, 0o777
		case f.config:
			c.Type = files.TypeConfigNoReplace
		}
		list = append(list, c)
	}
	return list
}
