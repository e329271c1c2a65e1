// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestServiceUnit has systemd read the service.
func TestServiceUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	unit, err := os.ReadFile("../../packaging/cityid.service")
	if err != nil {
		t.Fatal(err)
	}
	const command = "/usr/bin/cityid"
	if !strings.Contains(string(unit), "\nExecStart="+command+" node start /var/lib/cityid\n") {
		t.Fatal("the service does not start the node")
	}
	// The command need not be installed where this runs.
	path := filepath.Join(t.TempDir(), "cityid.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(unit), command, "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || strings.Contains(string(out), path) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestMaintainerScripts has the shell read what runs as root.
func TestMaintainerScripts(t *testing.T) {
	scripts, err := filepath.Glob("../../packaging/debian/*")
	if err != nil || len(scripts) != 3 {
		t.Fatal(scripts, err)
	}
	for _, s := range append(scripts, "../../scripts/deb") {
		shell := "sh"
		if strings.HasSuffix(s, "scripts/deb") {
			shell = "bash"
		}
		if out, err := exec.Command(shell, "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s, err, out)
		}
		if info, err := os.Stat(s); err != nil || info.Mode().Perm()&0o111 == 0 {
			t.Errorf("%s can not be run", s)
		}
	}
}

// TestPackage builds the package, and looks at what is in it. It takes a minute, so
// it belongs to the long tests.
func TestPackage(t *testing.T) {
	if os.Getenv("CITYID_TEST") != "long" {
		t.Skip("for scripts/test -long")
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("there is no dpkg-deb")
	}
	dir := t.TempDir()
	out, err := exec.Command("../../scripts/deb", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	name := strings.TrimSpace(string(out))
	contents, err := exec.Command("dpkg-deb", "--contents", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"-rwxr-xr-x root/root", "./usr/bin/cityid\n", "./usr/lib/systemd/system/cityid.service\n", "./usr/lib/sysusers.d/cityid.conf\n", "./usr/share/doc/cityid/copyright\n", "./usr/share/doc/cityid/operating.md\n"} {
		if !strings.Contains(string(contents), want) {
			t.Errorf("the package lacks %q:\n%s", want, contents)
		}
	}
	if err := exec.Command("dpkg-deb", "--extract", name, dir).Run(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(dir, "usr/bin/cityid"), "version").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
