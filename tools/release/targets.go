package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A target is a system and a processor that the program is built for.
type target struct {
	os, arch string
	variant  string // of the processor: 7 for GOARM, softfloat for GOMIPS
	nano     bool   // the small program for routers: no daemon, store, web, telemetry
	packages []string
}

var linuxPackages = []string{"deb", "rpm", "apk"}

// targets are all files of a release.
var targets = []target{
	{os: "linux", arch: "amd64", packages: linuxPackages},
	{os: "linux", arch: "arm64", packages: linuxPackages},
	{os: "linux", arch: "arm", variant: "7", packages: linuxPackages},
	{os: "darwin", arch: "arm64"},
	{os: "darwin", arch: "amd64"},
	{os: "windows", arch: "amd64"},
	{os: "freebsd", arch: "amd64"},
	{os: "linux", arch: "amd64", nano: true},
	{os: "linux", arch: "arm64", nano: true},
	{os: "linux", arch: "arm", variant: "7", nano: true},
	{os: "linux", arch: "mipsle", variant: "softfloat", nano: true},
	{os: "linux", arch: "mips", variant: "softfloat", nano: true},
}

// nanoTag leaves out what a router has no room for.
const nanoTag = "nano"

// String is the target as -only takes it.
func (t target) String() string {
	if t.nano {
		return "nano/" + t.platform()
	}
	return t.platform()
}

// platform is the system and the processor, such as linux/armv7.
func (t target) platform() string {
	switch {
	case t.arch == "arm":
		return t.os + "/armv" + t.variant
	case t.variant != "":
		return t.os + "/" + t.arch + "-" + t.variant
	}
	return t.os + "/" + t.arch
}

// product is what the program is called in the names of files.
func (t target) product() string {
	if t.nano {
		return "sonde-nano"
	}
	return "sonde"
}

// program is the name of the program's file.
func (t target) program() string {
	if t.os == "windows" {
		return "sonde.exe"
	}
	return "sonde"
}

// environment is what go build needs to know of the target.
func (t target) environment() []string {
	env := []string{"CGO_ENABLED=0", "GOOS=" + t.os, "GOARCH=" + t.arch}
	switch t.arch {
	case "arm":
		env = append(env, "GOARM="+t.variant)
	case "mips", "mipsle":
		env = append(env, "GOMIPS="+t.variant)
	}
	return env
}

// build builds the program for t: without paths of this machine, without a
// symbol table, dated by the commit.
func (r *release) build(t target, to string) error {
	const cli = " -X github.com/sonde-net/sonde/app/cli."
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", to, "-ldflags", "-s -w -buildid=" +
		cli + "version=" + r.version + cli + "commit=" + r.commit + cli + "date=" + r.date.UTC().Format(time.DateOnly)}
	if t.nano {
		args = append(args, "-tags", nanoTag)
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	cmd.Env = append(os.Environ(), t.environment()...)
	return cmd.Run()
}

// choose returns the targets that are named, or all.
func choose(names string) ([]target, error) {
	if names == "" {
		return targets, nil
	}
	var chosen []target
next:
	for name := range strings.SplitSeq(names, ",") {
		for _, t := range targets {
			if t.String() == name {
				chosen = append(chosen, t)
				continue next
			}
		}
		var all []string
		for _, t := range targets {
			all = append(all, t.String())
		}
		return nil, fmt.Errorf("-only %s: no such target; there are %s", name, strings.Join(all, ", "))
	}
	return chosen, nil
}
