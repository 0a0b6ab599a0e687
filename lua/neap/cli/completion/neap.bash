# bash completion of neap: neap itself says what could stand there.
_neap() {
	local line=${COMP_LINE:0:COMP_POINT} words current before found
	IFS=$' \t\n' read -ra words <<<"$line"
	[[ $line != *[[:space:]] ]] || words+=("")
	current=${words[${#words[@]} - 1]}
	before=${current%"${current##*[=:]}"} # bash has cut the word there, and wants what is behind it
	COMPREPLY=()
	while IFS=$'\t' read -r found _; do
		if [[ $found == :file ]]; then
			compopt -o default
			return
		fi
		COMPREPLY+=("${found#"$before"}")
	done < <("${COMP_WORDS[0]}" complete -- "${words[@]:1}" 2>/dev/null)
	[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace
}
complete -F _neap neap
