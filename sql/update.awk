# update.awk HEAD RELEASED PIECE...: an update script of the extension.
#
# HEAD is what cannot be derived: ALTER TABLE, DROP, data.  RELEASED is the script
# of the version before, the PIECES are those of this one.  Of the pieces comes
# what RELEASED does not say, functions and views as CREATE OR REPLACE; and all
# that names what HEAD drops.  A table, index, trigger or policy that was there
# before is left to HEAD.  docs/decisions/0021-versions.md has the reasons.

FNR == 1 { file++ }

file == 1 { print }

# Between statements.
statement == "" && /^[ \t]*(--.*|\\echo.*)?$/ { next }

{
    statement = statement $0 "\n"
    if (gsub(/\$[a-z]*\$/, "&") % 2)
        in_body = !in_body
    if (/BEGIN ATOMIC/)
        in_atomic = 1
    if (/^END;/)
        in_atomic = 0
    if (!in_body && !in_atomic && /;[ \t]*(--.*)?$/) {
        take(statement)
        statement = ""
    }
}

END {
    if (statement != "") {
        print "update.awk: a statement has no end: " statement > "/dev/stderr"
        exit 1
    }
}

function take(text,    key, thing) {
    key = text
    gsub(/[ \t\n]+/, " ", key)
    if (file == 1) {
        if (key ~ /^DROP /)
            note_dropped(key)
        return
    }
    thing = made_by(key)
    if (file == 2) {
        released[key]
        made[thing]
        return
    }
    if (!names_dropped(key) && (key in released || thing != "" && thing in made))
        return
    sub(/^CREATE FUNCTION /, "CREATE OR REPLACE FUNCTION ", text)
    sub(/^CREATE VIEW /, "CREATE OR REPLACE VIEW ", text)
    printf "\n%s", text
}

# What cannot be made twice, as "TABLE bdr.node"; the rows of a table count as it.
function made_by(key,    word) {
    split(key, word, " ")
    if (word[1] == "INSERT")
        return "TABLE " word[3]
    if (word[1] == "CREATE" && word[2] == "UNIQUE")
        return "INDEX " word[4]
    if (word[1] == "CREATE" && word[2] ~ /^(SCHEMA|TABLE|INDEX|TRIGGER|POLICY|TYPE)$/)
        return word[2] " " word[3]
    return ""
}

function note_dropped(key) {
    while (match(key, /bdr\.[a-z0-9_]+/)) {
        dropped[substr(key, RSTART, RLENGTH)]
        key = substr(key, RSTART + RLENGTH)
    }
}

function names_dropped(key) {
    while (match(key, /bdr\.[a-z0-9_]+/)) {
        if (substr(key, RSTART, RLENGTH) in dropped)
            return 1
        key = substr(key, RSTART + RLENGTH)
    }
    return 0
}
