package lsn

import "testing"

// What the server writes is what we read, and the other way round.
func TestParseAndString(t *testing.T) {
	for text, want := range map[string]LSN{
		"0/0":               Zero,
		"0/16B3748":         0x16B3748,
		"1/0":               1 << 32,
		"FFFFFFFF/FFFFFFFF": ^Zero,
		"A/B":               0xA0000000B,
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
		if back := want.String(); back != text {
			t.Errorf("String() = %q, want %q", back, text)
		}
	}
	if got, err := Parse("a/b"); err != nil || got != 0xA0000000B {
		t.Errorf("lower case: %v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "/", "0", "0/", "/0", "0/0/0", "1_0/0", "+1/0", "-1/0", "100000000/0", "0/100000000", "x/y", " 0/0"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", text, got)
		}
	}
}
