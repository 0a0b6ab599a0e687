{% set environment = salt.environ.get('ENVIRONMENT') %}
{% set commits = salt.saltutil.runner('salt.execute', arg=['edx*-' ~ environment ~ '-*base', 'git.rev_parse'],
    kwarg={'arg': ['/edx/app/edxapp/edx-platform', 'HEAD'], 'kwarg': {'user': 'edxapp'}}) %}
snapshots_of_the_base_instances:
  salt.runner:
    - name: edx.snapshots
    - environment: {{ environment }}
    - commits: {{ commits | json }}
