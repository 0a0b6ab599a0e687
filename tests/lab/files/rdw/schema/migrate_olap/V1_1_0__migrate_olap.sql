-- How far the aggregate data mart has been filled.
CREATE TABLE migrate (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, job_id bigint NOT NULL, status tinyint NOT NULL, first_import_id bigint, last_import_id bigint, created timestamp(6) NOT NULL DEFAULT current_timestamp(6));
