-- Links that states and districts provide.
CREATE TABLE instructional_resource (name varchar(250) NOT NULL, organization_id int NOT NULL DEFAULT -1, performance_level tinyint NOT NULL, resource varchar(2000) NOT NULL, PRIMARY KEY (name, organization_id, performance_level));
ALTER TABLE exam ADD COLUMN school_id int NULL;
