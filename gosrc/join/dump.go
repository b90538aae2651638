package join

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

const (
	dumpDirectory  = "join"   // below the run directory
	outputBytesMax = 8 * 1024 // of a program's messages
)

// dump writes the source's schema, as of the snapshot, into a directory.
// Publications, subscriptions and large objects are not part of the group.
func (c *Copy) dump(ctx context.Context) error {
	c.dir = dumpDir(c.Deps.RunDirectory)
	if err := RemoveDump(c.Deps.RunDirectory); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the schema: %w", err)
	}
	dsn, password, err := c.programDSN(ctx, c.Source.DSN, stream.Reading)
	if err != nil {
		return err
	}
	encoding := c.holder.ParameterStatus("server_encoding")
	return c.program(ctx, password, nil, "pg_dump", "--dbname="+dsn, "--encoding="+encoding, "--format=directory", "--file="+filepath.Join(c.dir, "schema"),
		"--section=pre-data", "--section=post-data", "--snapshot="+c.snapshot, "--exclude-schema=bdr",
		"--no-publications", "--no-subscriptions", "--no-blobs", "--no-password")
}

func dumpDir(runDirectory string) string { return filepath.Join(runDirectory, dumpDirectory) }

// RemoveDump removes what a copy that was interrupted has left.
func RemoveDump(runDirectory string) error {
	if err := os.RemoveAll(dumpDir(runDirectory)); err != nil {
		return fmt.Errorf("remove an earlier dump: %w", err)
	}
	return nil
}

// restore carries out one section of the dump in one transaction. After an
// interrupted copy, what it had made is replaced.
func (c *Copy) restore(ctx context.Context, section string) error {
	list, err := c.selectEntries(ctx)
	if err != nil {
		return err
	}
	dsn, password, err := c.programDSN(ctx, c.Local.DSN, stream.Restoring)
	if err != nil {
		return err
	}
	args := []string{"--dbname=" + dsn, "--section=" + section, "--use-list=" + list, "--single-transaction", "--exit-on-error", "--no-password"}
	if c.Again {
		args = append(args, "--clean", "--if-exists")
	}
	return c.program(ctx, password, nil, "pg_restore", append(args, filepath.Join(c.dir, "schema"))...)
}

// programDSN is a node's connection string for one of the programs: its options
// pin what our own connections pin.
func (c *Copy) programDSN(ctx context.Context, dsn string, purpose stream.Purpose) (rest, password string, err error) {
	conn, err := c.Deps.Connect(ctx, dsn, stream.Command)
	if err != nil {
		return "", "", err
	}
	defer stream.HangUp(conn)
	options, err := stream.ProgramOptions(dsn, purpose, stream.VersionOf(conn))
	if err != nil {
		return "", "", err
	}
	rest, password = splitPassword(dsn)
	return withOptions(rest, options), password, nil
}

// selectEntries writes the list of entries to restore: all but our own
// extension, and on a second try but the extensions that are there.
func (c *Copy) selectEntries(ctx context.Context) (string, error) {
	var out bytes.Buffer
	if err := c.program(ctx, "", &out, "pg_restore", "--list", filepath.Join(c.dir, "schema")); err != nil {
		return "", err
	}
	skip := map[string]bool{"bdr": true}
	if c.Again {
		results, err := c.Deps.Host.Run(ctx, catalog.SelectExtensions())
		if err != nil {
			return "", err
		}
		for _, name := range catalog.Texts(results[0]) {
			skip[name] = true
		}
	}
	var kept strings.Builder
	for line := range strings.Lines(out.String()) {
		if !isExtensionEntry(line, skip) {
			kept.WriteString(line)
		}
	}
	path := filepath.Join(c.dir, "list")
	if err := os.WriteFile(path, []byte(kept.String()), 0o600); err != nil {
		return "", fmt.Errorf("write the list of schema entries: %w", err)
	}
	return path, nil
}

// isExtensionEntry reads one line of pg_restore --list:
// "2; 3079 16385 EXTENSION - bdr" or "3; 0 0 COMMENT - EXTENSION bdr".
func isExtensionEntry(line string, names map[string]bool) bool {
	_, entry, found := strings.Cut(line, "; ")
	fields := strings.Fields(entry)
	if !found || len(fields) < 5 {
		return false
	}
	switch {
	case fields[2] == "EXTENSION" && fields[3] == "-":
		return names[fields[4]]
	case fields[2] == "COMMENT" && fields[4] == "EXTENSION" && len(fields) > 5:
		return names[fields[5]]
	}
	return false
}

// program runs one of PostgreSQL's client programs. It dies with the thread
// that started it, so that none is left behind by a manager that was killed;
// a password travels in its environment only.
func (c *Copy) program(ctx context.Context, password string, out *bytes.Buffer, name string, args ...string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, filepath.Join(c.Deps.BinDirectory, name), args...)
	cmd.Env = c.environment(password)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	messages := &tail{}
	cmd.Stderr = messages
	if out != nil {
		cmd.Stdout = out
	}
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return pgerr.New(pgerr.SystemError, "%s failed: %w", name, err).
		WithDetail("%s", strings.TrimSpace(messages.String()))
}

func (c *Copy) environment(password string) []string {
	env := []string{"LC_ALL=C", "PGAPPNAME=bdr join", "PGCONNECT_TIMEOUT=10", "HOME=" + c.Deps.HomeDirectory}
	if c.Deps.PassFile != "" {
		env = append(env, "PGPASSFILE="+c.Deps.PassFile)
	}
	if password != "" {
		env = append(env, "PGPASSWORD="+password)
	}
	return env
}

// tail keeps the end of a program's messages.
type tail struct {
	bytes.Buffer
}

// Write is io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	n, err := t.Buffer.Write(b)
	if over := t.Len() - outputBytesMax; over > 0 {
		t.Next(over)
	}
	return n, err
}
