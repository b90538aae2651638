package join

import (
	"net/url"
	"strings"
)

// splitPassword takes the password out of a connection string, so that the
// rest can be shown to other users of the machine as a program's argument.
func splitPassword(dsn string) (rest, password string) {
	for _, scheme := range []string{"postgresql://", "postgres://"} {
		if tail, ok := strings.CutPrefix(dsn, scheme); ok {
			tail, password = splitURI(tail)
			return scheme + tail, password
		}
	}
	return splitKeywords(dsn)
}

// withOptions sets the keyword options; what comes last counts.
func withOptions(dsn, options string) string {
	if !isURI(dsn) {
		return dsn + " options=" + quoteValue(options)
	}
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + "options=" + strings.ReplaceAll(url.QueryEscape(options), "+", "%20")
}

func isURI(dsn string) bool {
	return strings.HasPrefix(dsn, "postgresql://") || strings.HasPrefix(dsn, "postgres://")
}

func splitURI(uri string) (rest, password string) {
	place, query, hasQuery := strings.Cut(uri, "?")
	authority, path, hasPath := strings.Cut(place, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, secret, _ := strings.Cut(authority[:at], ":")
		if plain, err := url.PathUnescape(secret); err == nil {
			password = plain
		}
		authority = user + authority[at:]
	}
	rest = authority
	if hasPath {
		rest += "/" + path
	}
	if !hasQuery {
		return rest, password
	}
	var kept []string
	for _, pair := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "password":
			if plain, err := url.QueryUnescape(value); err == nil {
				password = plain
			}
		case "sslpassword":
		default:
			kept = append(kept, pair)
		}
	}
	if len(kept) == 0 {
		return rest, password
	}
	return rest + "?" + strings.Join(kept, "&"), password
}

func splitKeywords(dsn string) (rest, password string) {
	var kept []string
	for text := strings.TrimSpace(dsn); text != ""; text = strings.TrimSpace(text) {
		name, value, tail := nextKeyword(text)
		text = tail
		switch name {
		case "password":
			password = value
		case "sslpassword":
		default:
			kept = append(kept, name+"="+quoteValue(value))
		}
	}
	return strings.Join(kept, " "), password
}

// nextKeyword reads one name and value; a malformed rest becomes a name, and
// whoever parses the result complains about it.
func nextKeyword(text string) (name, value, tail string) {
	equal := strings.IndexByte(text, '=')
	if equal < 0 {
		return text, "", ""
	}
	name = strings.TrimSpace(text[:equal])
	text = strings.TrimLeft(text[equal+1:], " \t\n\r")
	quoted := strings.HasPrefix(text, "'")
	if quoted {
		text = text[1:]
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			out.WriteByte(text[i])
		case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n\r", c) >= 0:
			return name, out.String(), text[i+1:]
		default:
			out.WriteByte(c)
		}
	}
	return name, out.String(), ""
}

func quoteValue(value string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + `'`
}
