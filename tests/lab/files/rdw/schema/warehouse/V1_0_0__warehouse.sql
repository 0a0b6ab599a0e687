-- The warehouse of version 1.0.
CREATE TABLE completeness (id tinyint NOT NULL PRIMARY KEY, code varchar(10) NOT NULL UNIQUE);
CREATE TABLE asmt_type (id tinyint NOT NULL PRIMARY KEY, code varchar(10) NOT NULL UNIQUE, name varchar(24) NOT NULL);
CREATE TABLE import (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, status tinyint NOT NULL, content tinyint NOT NULL, digest varchar(32) NOT NULL, created timestamp(6) NOT NULL DEFAULT current_timestamp(6));
CREATE TABLE asmt (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, natural_id varchar(250) NOT NULL UNIQUE, grade_id tinyint NOT NULL, type_id tinyint NOT NULL, school_year smallint NOT NULL, name varchar(250) NOT NULL, label varchar(255) NOT NULL, update_import_id bigint NOT NULL, updated timestamp(6) NOT NULL DEFAULT current_timestamp(6), CONSTRAINT fk__asmt__type FOREIGN KEY (type_id) REFERENCES asmt_type (id), CONSTRAINT fk__asmt__import FOREIGN KEY (update_import_id) REFERENCES import (id));
CREATE TABLE student (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, ssid varchar(65) NOT NULL UNIQUE, last_or_surname varchar(60), first_name varchar(60), birthday date);
CREATE TABLE exam (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, student_id int NOT NULL, asmt_id int NOT NULL, school_year smallint NOT NULL, completeness_id tinyint NOT NULL, scale_score float, performance_level tinyint, completed_at timestamp(0) NOT NULL DEFAULT '2018-01-01 00:00:00', CONSTRAINT fk__exam__student FOREIGN KEY (student_id) REFERENCES student (id), CONSTRAINT fk__exam__asmt FOREIGN KEY (asmt_id) REFERENCES asmt (id));

INSERT INTO completeness VALUES (1, 'Partial'), (2, 'Complete');
INSERT INTO asmt_type VALUES (1, 'ica', 'Interim Comprehensive'), (2, 'iab', 'Interim Assessment Block'), (3, 'sum', 'Summative');
INSERT INTO import (status, content, digest) VALUES (1, 2, 'first');
INSERT INTO asmt (natural_id, grade_id, type_id, school_year, name, label, update_import_id) VALUES
  ('(SBAC)SBAC-ICA-FIXED-G3M-COMBINED-2017', 3, 1, 2017, 'SBAC-ICA-FIXED-G3M', 'SBAC-ICA-FIXED-G3M', 1),
  ('(SBAC)SBAC-IAB-FIXED-G4E-ReadInfo-2017', 4, 2, 2017, 'SBAC-IAB-FIXED-G4E-ReadInfo', 'SBAC-IAB-FIXED-G4E-ReadInfo', 1),
  ('(SBAC)SBAC-SUM-FIXED-G8M-2017', 8, 3, 2017, 'SBAC-SUM-FIXED-G8M', 'SBAC-SUM-FIXED-G8M', 1);
