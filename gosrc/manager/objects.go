package manager

import (
	"context"
	"fmt"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/release"
)

// checkObjects compares the SQL objects of this database with the library. Older
// ones are those of an update that is not complete: all that the older version
// can do works with them. Of newer ones nothing is known, so the node must not act.
func (m *Manager) checkObjects(ctx context.Context) (refusal *pgerr.Error, err error) {
	results, err := m.main.Run(ctx, catalog.SelectVersions())
	if err != nil {
		return nil, fmt.Errorf("read the version of the SQL objects: %w", err)
	}
	_, objects, err := catalog.VersionsOf(results[0])
	if err != nil {
		return nil, err
	}
	if release.Newer(objects, release.Version) {
		return objectsNewer(objects), nil
	}
	if release.Newer(release.Version, objects) {
		m.main.Log(ipc.Warning, fmt.Sprintf("the SQL objects of database %q are those of bdr %s, the server has loaded bdr %s",
			m.config.DatabaseName, objects, release.Version), "The node works as with the older version.", "Run ALTER EXTENSION bdr UPDATE in this database.")
	}
	return nil, nil
}

func objectsNewer(objects string) *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "the SQL objects of this database are those of bdr %s, the server has loaded bdr %s", objects, release.Version).
		WithDetail("There is no way back behind ALTER EXTENSION bdr UPDATE: the node does nothing until its library is as new.").
		WithHint("Install bdr %s or later and restart the server.", objects)
}
