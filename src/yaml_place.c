/* Where a node stands in the bytes of its text: libyaml counts characters, and takes in what is none of the node. */
#include "yaml_tree.h"

static bool is_lead(unsigned char byte)
{
	return (byte & 0xC0) != 0x80;
}

uint32_t yaml_byte_of(struct tree *t, size_t index)
{
	while (t->index < index && t->byte < t->length) {
		do
			t->byte++;
		while (t->byte < t->length && !is_lead(t->text[t->byte]));
		t->index++;
	}
	while (t->index > index) {
		do
			t->byte--;
		while (!is_lead(t->text[t->byte]));
		t->index--;
	}
	return (uint32_t)t->byte;
}

static bool is_blank(unsigned char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Behind blanks, line ends and comments. */
static uint32_t skip_blank(const struct tree *t, uint32_t at)
{
	while (at < t->length && (is_blank(t->text[at]) || t->text[at] == '#'))
		if (t->text[at] == '#')
			while (at < t->length && t->text[at] != '\n')
				at++;
		else
			at++;
	return at;
}

uint32_t yaml_skip_properties(const struct tree *t, uint32_t at)
{
	while (at < t->length && (t->text[at] == '&' || t->text[at] == '!')) {
		while (at < t->length && !is_blank(t->text[at]))
			at++;
		at = skip_blank(t, at);
	}
	return at;
}

uint32_t yaml_end_of_block(const struct tree *t, uint32_t content, uint32_t last)
{
	uint32_t header = content, line;
	bool keeps = false;

	while (header < last && t->text[header] != '\n' && t->text[header] != ' ')
		keeps |= t->text[header++] == '+';
	while (!keeps && last > content && t->text[last - 1] == '\n') {
		for (line = last - 1; line > content && is_blank(t->text[line - 1]) && t->text[line - 1] != '\n'; line--)
			;
		if (line == content || t->text[line - 1] != '\n')
			break;
		last = line;
	}
	if (last > content && t->text[last - 1] == '\n')
		last--;
	if (last > content && t->text[last - 1] == '\r')
		last--;
	return last;
}
