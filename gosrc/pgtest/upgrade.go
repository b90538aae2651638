package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// UpgradeTo makes the server, which does not run, one of a newer major version in
// the same place: initdb, the same settings, and bdr_pg_upgrade. The old data
// directory stays beside the new one. It returns what the programs said. Options
// are those of pg_upgrade.
func (s *Server) UpgradeTo(major int, options ...string) (string, error) {
	bin, err := majorDirectory(major)
	if err != nil {
		return "", err
	}
	old := s.bin
	oldData := fmt.Sprintf("%s-%s", s.DataDirectory(), filepath.Base(filepath.Dir(old)))
	if err := os.Rename(s.DataDirectory(), oldData); err != nil {
		return "", err
	}
	s.bin = bin
	arguments := append([]string{"-D", s.DataDirectory()}, initdbOptions...)
	if major >= 18 {
		arguments = append(arguments, "--no-data-checksums")
	}
	cmd := s.account.command(s.Dir, filepath.Join(bin, "initdb"), arguments...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		return string(said), fmt.Errorf("initdb: %w: %s", err, said)
	}
	for _, name := range []string{"postgresql.conf", "pg_hba.conf"} {
		text, err := os.ReadFile(filepath.Join(oldData, name))
		if err != nil {
			return "", err
		}
		if err := s.writeOwned(name, string(text)); err != nil {
			return "", err
		}
	}
	out, err := s.bdrPgUpgrade(old, oldData, options)
	return string(said) + out, err
}

func (s *Server) bdrPgUpgrade(oldBin, oldData string, options []string) (string, error) {
	oldPort, err := freePort()
	if err != nil {
		return "", err
	}
	newPort, err := freePort()
	if err != nil {
		return "", err
	}
	arguments := append([]string{"-U", "postgres", "-b", oldBin, "-B", s.bin, "-d", oldData, "-D", s.DataDirectory(),
		"-p", fmt.Sprint(oldPort), "-P", fmt.Sprint(newPort), "-s", s.Dir}, options...)
	cmd := s.account.command(s.Dir, filepath.Join(s.bin, "bdr_pg_upgrade"), arguments...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("bdr_pg_upgrade: %w: %s%s", err, out, s.upgradeLogs())
	}
	return string(out), nil
}

// upgradeLogs are what the programs that pg_upgrade ran have said.
func (s *Server) upgradeLogs() string {
	var b strings.Builder
	for _, pattern := range []string{"pg_upgrade_output.d/*/log/*.log", "pg_upgrade_output.d/*/*.txt"} {
		paths, _ := filepath.Glob(filepath.Join(s.DataDirectory(), pattern))
		for _, path := range paths {
			if text, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&b, "\n== %s\n%s", filepath.Base(path), text)
			}
		}
	}
	return b.String()
}
