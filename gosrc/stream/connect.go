package stream

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgerr"
	"bdr/gosrc/rawsocket"
)

// connectTimeoutDefault is for connection strings without connect_timeout.
const connectTimeoutDefault = 10 * time.Second

// keywordsOfLibpq are connection keywords that pgconn does not know and would
// send to the server as settings. A node's connection string is also given to
// pg_dump, so it may have them. Go's own TCP keepalives stay on.
var keywordsOfLibpq = []string{
	"fallback_application_name", "gssdelegation", "gssencmode", "gsslib", "keepalives", "keepalives_count", "keepalives_idle",
	"keepalives_interval", "load_balance_hosts", "requirepeer", "requiressl", "ssl_max_protocol_version",
	"ssl_min_protocol_version", "sslcompression", "sslcrl", "sslcrldir", "tcp_user_timeout",
}

// defaults stand in for the environment, which Go does not have here.
var defaults struct {
	sync.RWMutex
	keywords [][2]string
}

// SetDefaults gives the files that connection strings refer to without naming
// them: passfile may be empty, home is the home directory of the server's OS
// user. It is called once, before the first connection.
func SetDefaults(passfile, home string) {
	var keywords [][2]string
	offer := func(keyword, path string) {
		if _, err := os.Stat(path); err == nil {
			keywords = append(keywords, [2]string{keyword, path})
		}
	}
	if passfile == "" {
		passfile = filepath.Join(home, ".pgpass")
	}
	keywords = append(keywords, [2]string{"passfile", passfile}, [2]string{"servicefile", filepath.Join(home, ".pg_service.conf")})
	offer("sslcert", filepath.Join(home, ".postgresql", "postgresql.crt"))
	offer("sslkey", filepath.Join(home, ".postgresql", "postgresql.key"))
	offer("sslrootcert", filepath.Join(home, ".postgresql", "root.crt"))
	defaults.Lock()
	defer defaults.Unlock()
	defaults.keywords = keywords
}

// Connect makes a connection to the database that dsn names. It is the one place
// that does. applicationName is used when dsn has none. What dsn sets in its
// options stays, but for what is pinned. An error never shows a password.
func Connect(ctx context.Context, dsn string, purpose Purpose, applicationName string) (*pgconn.PgConn, error) {
	return connect(ctx, dsn, purpose, applicationName, 0)
}

// versions are the versions of the servers that connection strings led to.
var versions sync.Map

// connect has a timeout of its own for dsn without one; zero is the default.
func connect(ctx context.Context, dsn string, purpose Purpose, applicationName string, timeout time.Duration) (*pgconn.PgConn, error) {
	config, err := parse(dsn, applicationName, timeout)
	if err != nil {
		return nil, err
	}
	if purpose == Replication {
		config.RuntimeParams["replication"] = "database"
		config.DialFunc = asLines(config.DialFunc)
	}
	conn, err := connectPinned(ctx, dsn, config, purpose)
	if err == nil && purpose == Replication {
		if _, err = conn.Exec(ctx, unmoveSender).ReadAll(); err != nil {
			_ = conn.Close(ctx)
		}
	}
	if err != nil {
		return nil, connectError(ctx, dsn, err)
	}
	return conn, nil
}

// connectPinned gives the connection the settings that its server knows. A server
// of which nothing was known, or that is another one now, is connected to twice.
func connectPinned(ctx context.Context, dsn string, config *pgconn.Config, purpose Purpose) (*pgconn.PgConn, error) {
	expected := 0
	if known, ok := versions.Load(dsn); ok {
		expected = known.(int)
	}
	conn, err := connectVersion(ctx, config, purpose, expected)
	if refused := new(pgconn.PgError); err != nil && expected != 0 && errors.As(err, &refused) && refused.Code == pgerr.UndefinedObject {
		expected = 0
		conn, err = connectVersion(ctx, config, purpose, expected)
	}
	if err != nil {
		return nil, err
	}
	version := VersionOf(conn)
	versions.Store(dsn, version)
	if sameSettings(expected, version) {
		return conn, nil
	}
	_ = conn.Close(ctx)
	return connectVersion(ctx, config, purpose, version)
}

func connectVersion(ctx context.Context, config *pgconn.Config, purpose Purpose, version int) (*pgconn.PgConn, error) {
	config = config.Copy()
	pinConfig(config, purpose, version)
	return pgconn.ConnectConfig(ctx, config)
}

func pinConfig(config *pgconn.Config, purpose Purpose, version int) {
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool { return isPinned(name) })
	maps.Copy(config.RuntimeParams, settings(purpose, config.User, version))
}

func parse(dsn, applicationName string, timeout time.Duration) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(withDefaults(dsn))
	if err != nil {
		return nil, pgerr.New(pgerr.InvalidParameter, "invalid connection string %q", pgerr.MaskDSN(dsn)).
			WithDetail("%s.", capitalize(reasonOf(err)))
	}
	if name := config.RuntimeParams["fallback_application_name"]; name != "" {
		applicationName = name
	}
	for _, keyword := range keywordsOfLibpq {
		delete(config.RuntimeParams, keyword)
	}
	if config.RuntimeParams["application_name"] == "" && applicationName != "" {
		config.RuntimeParams["application_name"] = applicationName
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = timeout
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeoutDefault
	}
	config.DialFunc = quietly(config.DialFunc)
	return config, nil
}

// quietly makes the connections of dial quiet.
func quietly(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return rawsocket.Wrap(conn), nil
	}
}

// withDefaults adds the defaults that dsn does not have itself.
func withDefaults(dsn string) string {
	defaults.RLock()
	defer defaults.RUnlock()
	if len(defaults.keywords) == 0 {
		return dsn
	}
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		return withDefaultParameters(dsn)
	}
	var out strings.Builder // what comes later wins, so dsn goes last
	for _, d := range defaults.keywords {
		out.WriteString(d[0] + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(d[1]) + "' ")
	}
	return out.String() + dsn
}

func withDefaultParameters(uri string) string {
	_, query, hasQuery := strings.Cut(uri, "?")
	given, err := url.ParseQuery(query)
	if err != nil {
		return uri // pgconn says what is wrong with it
	}
	separator := "?"
	if hasQuery {
		separator = "&"
	}
	for _, d := range defaults.keywords {
		if !given.Has(d[0]) {
			uri += separator + d[0] + "=" + strings.ReplaceAll(url.QueryEscape(d[1]), "+", "%20")
			separator = "&"
		}
	}
	return uri
}

// connectError says to whom and why in the words of a user.
func connectError(ctx context.Context, dsn string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	code := pgerr.ConnectionFailure
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		code = refused.Code
	}
	e := pgerr.New(code, "could not connect to %q", pgerr.MaskDSN(dsn)).WithDetail("%s.", capitalize(reasonOf(err)))
	if refused != nil && refused.Hint != "" {
		e = e.WithHint("%s", refused.Hint)
	}
	return e
}

// reasonOf leaves out what pgconn and the net package put around a reason: the
// connection string, and further attempts once one has an answer.
func reasonOf(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Message
	}
	var unreachable *net.OpError
	if errors.As(err, &unreachable) && unreachable.Addr != nil {
		return unreachable.Addr.String() + ": " + rootCause(unreachable).Error()
	}
	var malformed *pgconn.ParseConfigError
	if errors.As(err, &malformed) {
		_, reason, _ := strings.Cut(malformed.Error(), "`: ")
		return reason
	}
	var failed *pgconn.ConnectError
	if errors.As(err, &failed) && failed.Unwrap() != nil {
		err = failed.Unwrap()
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func rootCause(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

func capitalize(s string) string {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "The reason is not known"
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// HangUp closes a connection, whatever state it is in.
func HangUp(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // a connection that cannot say good-bye is closed as well
}
