package manager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"bdr/gosrc/catalog"
	"bdr/gosrc/durable"
	"bdr/gosrc/pgerr"
)

// incarnationFile lies in the run directory and says where this node lives. A
// physical copy of the data directory brings it along, but not the inode.
const incarnationFile = "incarnation"

// An incarnation is one node in one place.
type incarnation struct {
	NodeUUID         string `json:"node_uuid"`
	SystemIdentifier string `json:"system_identifier"`
	Inode            uint64 `json:"inode"` // of PG_VERSION in the data directory
}

// settle makes this data directory the place where the node lives.
func (m *Manager) settle(ctx context.Context) error {
	local, _, err := m.readLocal(ctx)
	if err != nil {
		return err
	}
	server, err := m.readServer(ctx)
	if err != nil {
		return err
	}
	here, err := currentIncarnation(m.config, server, local)
	if err != nil {
		return err
	}
	return writeIncarnation(incarnationPath(m.config), here)
}

func (m *Manager) readServer(ctx context.Context) (catalog.Server, error) {
	results, err := m.main.Run(ctx, catalog.SelectServer())
	if err != nil {
		return catalog.Server{}, fmt.Errorf("read system identifier: %w", err)
	}
	return catalog.ServerOf(results[0])
}

func incarnationPath(config Config) string {
	return filepath.Join(config.RunDirectory, incarnationFile)
}

// checkIdentity compares the node with what the run directory remembers. The
// first return value says why the node must not act; the second is a failure to
// find out. A node without a file, or another node than the one in the file,
// starts to live here now.
func checkIdentity(config Config, server catalog.Server, local catalog.LocalNode) (*pgerr.Error, error) {
	here, err := currentIncarnation(config, server, local)
	if err != nil {
		return nil, err
	}
	path := incarnationPath(config)
	remembered, err := readIncarnation(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && remembered.NodeUUID != here.NodeUUID {
		return nil, writeIncarnation(path, here)
	}
	if err != nil {
		return nil, err
	}
	if remembered == here {
		return nil, nil
	}
	return copyRefused(config, path), nil
}

func copyRefused(config Config, path string) *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "this database is a physical copy of a node").
		WithDetail("The data directory is not the one in which the node of database %q was made, and two nodes must not act as one.", config.DatabaseName).
		WithHint("If the original is gone for good and this is the only copy, delete the file %q and restart the server.",
			filepath.Join(config.DataDirectory, path))
}

func currentIncarnation(config Config, server catalog.Server, local catalog.LocalNode) (incarnation, error) {
	var info syscall.Stat_t
	if err := syscall.Stat(filepath.Join(config.DataDirectory, "PG_VERSION"), &info); err != nil {
		return incarnation{}, fmt.Errorf("look at PG_VERSION: %w", err)
	}
	return incarnation{NodeUUID: local.UUID, SystemIdentifier: server.SystemIdentifier, Inode: info.Ino}, nil
}

func readIncarnation(path string) (incarnation, error) {
	var i incarnation
	if err := durable.Read(path, &i); err != nil {
		return i, fmt.Errorf("read identity of the node from %q: %w", path, err)
	}
	return i, nil
}

func writeIncarnation(path string, i incarnation) error {
	if err := durable.Write(path, i); err != nil {
		return fmt.Errorf("write identity of the node: %w", err)
	}
	return nil
}
