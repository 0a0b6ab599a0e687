-- Keys, distractors and writing traits of items; imports know when they changed.
CREATE TABLE item_trait_score (id tinyint NOT NULL PRIMARY KEY, dimension varchar(100) NOT NULL);
ALTER TABLE asmt ADD COLUMN version varchar(30) NULL;
ALTER TABLE import ADD COLUMN updated timestamp(6) NULL;
UPDATE import SET updated = created;
INSERT INTO item_trait_score VALUES (1, 'Purpose/Focus/Organization'), (2, 'Evidence/Elaboration'), (3, 'Conventions');
