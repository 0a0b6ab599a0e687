-- Links of the consortium, one a level.
USE reporting;

INSERT INTO instructional_resource (name, performance_level, resource) VALUES
  ('SBAC-ICA-FIXED-G3M', 0, 'https://portal.sbac.org/ica/g3m/start'),
  ('SBAC-ICA-FIXED-G3M', 1, 'https://portal.sbac.org/ica/g3m/1'),
  ('SBAC-ICA-FIXED-G3M', 2, 'https://portal.sbac.org/ica/g3m/2');
INSERT INTO instructional_resource (name, performance_level, resource) VALUES
  ('SBAC-IAB-FIXED-G4E-ReadInfo', 0, 'https://portal.sbac.org/iab/g4e;readinfo');
