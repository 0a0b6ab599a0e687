#!/bin/sh
# The manual as man pages and as a site of plain pages, made by lowdown from what neap itself prints.
#   manual.sh NEAP OUT     OUT/man: neap.1 neap-env.5 neap-procedure.7; OUT/site: index.html and a page a chapter
# The pictures are screens that the tests of tests/cli/scenes compare and write (NEAP_GOLDEN=write). They lie here, for the
# site alone shows them: what lies in lua/ is in the program.
set -eu
neap=$1 out=$2
here=$(dirname "$(readlink -f "$0")")
rm -rf "$out/man" "$out/site"
mkdir -p "$out/man" "$out/site"

chapters=$("$neap" doc | sed -n '/^Chapters/,$s/^  \([a-z-]*\) .*/\1/p')

# A terminal is too narrow for tables: a row becomes a term, and what is said of it.
lists() {
	# a | within a cell is no border of it
	sed 's/\\|/\x01/g' | awk -F ' *\\| *' '
		/^\|/ && !within { within = 1; next } # the head
		/^\| *-/ { next }
		/^\|/ {
			said = $3
			for (i = 4; i < NF; i++) if ($i != "") said = said (said == "" ? "" : "; ") $i
			printf "\n%s\n: %s\n", $2, said == "" ? "." : said
			next
		}
		{ if (within) print ""; within = 0; print }' | sed 's/\x01/|/g'
}

page() { # TITLE SECTION: a man page of the Markdown on the input, without its pictures
	sed '/^!\[/d' | lists | lowdown -s -tman -m "title=$1" -m "section=$2" -m "source=neap $("$neap" --version | cut -d' ' -f2)" >"$out/man/$1.$2"
}

{
	printf '# NAME\n\nneap - run production upgrades: planned, journaled, resumable, undone in reverse\n\n'
	"$neap" doc commands --markdown | sed 's/^# .*/# COMMANDS/'
	"$neap" doc running --markdown
} | page neap 1
{
	printf '# NAME\n\nneap-env - environments of neap\n\n'
	"$neap" doc environments --markdown
	"$neap" doc secrets --markdown
} | page neap-env 5
{
	printf '# NAME\n\nneap-procedure - procedures of neap\n\n'
	"$neap" doc authors --markdown
	"$neap" doc --markdown
} | page neap-procedure 7

title_of() { sed -n '1s/^# *//p'; }

navigation() {
	echo '<nav><a href="index.html">neap</a>'
	for chapter in $chapters; do
		printf '<a href="%s.html">%s</a>\n' "$chapter" "$("$neap" doc "$chapter" --markdown | title_of)"
	done
	echo '<a href="reference.html">Reference</a></nav>'
}

nav=$(navigation)

html() { # NAME TITLE: a page of the site of the Markdown on the input
	{
		printf '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
		printf '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>%s</title>\n' "$2"
		echo '<link rel="stylesheet" href="style.css">'
		printf '</head>\n<body>\n%s\n<main>\n' "$nav"
		sed 's,(\(\.\./\)*vendor/dist/pictures/,(pictures/,g' | lowdown -thtml
		printf '</main>\n</body>\n</html>\n'
	} >"$out/site/$1.html"
}

cp -R "$here/style.css" "$here/pictures" "$out/site/"
# the README's links to the sources of chapters lead to their pages
sed 's,(lua/neap/manual/\([a-z-]*\)\.md),(\1.html),g' "$here/../../README.md" | html index neap
for chapter in $chapters; do
	"$neap" doc "$chapter" --markdown >"$out/chapter.md"
	html "$chapter" "$(title_of <"$out/chapter.md")" <"$out/chapter.md"
done
"$neap" doc --markdown | html reference Reference
rm "$out/chapter.md"
