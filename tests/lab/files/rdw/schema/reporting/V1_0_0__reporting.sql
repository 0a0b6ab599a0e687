-- The reporting data mart of version 1.0.
CREATE TABLE asmt (id int NOT NULL PRIMARY KEY, natural_id varchar(250) NOT NULL UNIQUE, name varchar(250) NOT NULL, label varchar(255) NOT NULL);
CREATE TABLE organization (id int NOT NULL PRIMARY KEY, type varchar(20) NOT NULL, name varchar(100) NOT NULL);
CREATE TABLE exam (id bigint NOT NULL PRIMARY KEY, asmt_id int NOT NULL, school_year smallint NOT NULL, scale_score float, CONSTRAINT fk__exam__asmt FOREIGN KEY (asmt_id) REFERENCES asmt (id));
CREATE TABLE migrate (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, job_id bigint NOT NULL, status tinyint NOT NULL, first_import_id bigint, last_import_id bigint, created timestamp(6) NOT NULL DEFAULT current_timestamp(6));

INSERT INTO migrate (job_id, status, first_import_id, last_import_id) VALUES (1, 20, 1, 1);
INSERT INTO organization VALUES (-1, 'State', 'California');
INSERT INTO asmt VALUES (1, '(SBAC)SBAC-ICA-FIXED-G3M-COMBINED-2017', 'SBAC-ICA-FIXED-G3M', 'SBAC-ICA-FIXED-G3M');
