-- The aggregate data mart.
CREATE TABLE administration_condition (id smallint NOT NULL PRIMARY KEY, code varchar(20) NOT NULL);
CREATE TABLE asmt (id int NOT NULL PRIMARY KEY, grade_id smallint NOT NULL, school_year smallint NOT NULL);
CREATE TABLE staging_completeness (id smallint NOT NULL, code varchar(10) NOT NULL);
INSERT INTO administration_condition VALUES (1, 'Valid'), (2, 'SD'), (3, 'NS'), (4, 'IN');
