package pgerr

import (
	"strings"
)

const masked = "********"

// MaskDSN returns dsn with every password hidden, in both the URI and the
// keyword form. Text that is neither is returned with what looks like a
// password hidden: this is for messages, it never fails.
func MaskDSN(dsn string) string {
	trimmed := strings.TrimLeft(dsn, " \t\n\r")
	for _, scheme := range []string{"postgresql://", "postgres://"} {
		if rest, ok := strings.CutPrefix(trimmed, scheme); ok {
			return scheme + maskURI(rest)
		}
	}
	return maskKeywords(dsn)
}

// maskURI hides the password of the user part and those among the parameters.
func maskURI(rest string) string {
	authority, parameters, hasParameters := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if colon := strings.IndexByte(authority[:at], ':'); colon >= 0 {
			authority = authority[:colon+1] + masked + authority[at:]
		}
	}
	if !hasParameters {
		return authority
	}
	pairs := strings.Split(parameters, "&")
	for i, pair := range pairs {
		if name, _, ok := strings.Cut(pair, "="); ok && isSecret(name) {
			pairs[i] = name + "=" + masked
		}
	}
	return authority + "?" + strings.Join(pairs, "&")
}

// maskKeywords hides the values of secret keywords and copies all else.
func maskKeywords(dsn string) string {
	var out strings.Builder
	for i := 0; i < len(dsn); {
		nameEnd := strings.IndexByte(dsn[i:], '=')
		if nameEnd < 0 {
			out.WriteString(dsn[i:])
			break
		}
		nameEnd += i
		name := strings.TrimSpace(dsn[i:nameEnd])
		valueStart := nameEnd + 1 + len(dsn[nameEnd+1:]) - len(strings.TrimLeft(dsn[nameEnd+1:], " \t\n\r"))
		valueEnd := keywordValueEnd(dsn, valueStart)
		if isSecret(name) {
			out.WriteString(dsn[i:valueStart] + masked)
		} else {
			out.WriteString(dsn[i:valueEnd])
		}
		i = valueEnd
	}
	return out.String()
}

// keywordValueEnd finds the end of a plain or quoted value; a backslash
// takes the next byte with it in both.
func keywordValueEnd(dsn string, at int) int {
	quoted := at < len(dsn) && dsn[at] == '\''
	if quoted {
		at++
	}
	for ; at < len(dsn); at++ {
		switch c := dsn[at]; {
		case c == '\\':
			at++
		case quoted && c == '\'':
			return at + 1
		case !quoted && strings.IndexByte(" \t\n\r", c) >= 0:
			return at
		}
	}
	return len(dsn)
}

func isSecret(name string) bool {
	return name == "password" || name == "sslpassword"
}
