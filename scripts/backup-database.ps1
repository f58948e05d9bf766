# Back up databases on this host without Ansible. All it does is to call the command line.
# It was written without a PowerShell to run it in, so it is kept to what can be judged by reading.
param(
    [Parameter(Position = 0)]
    [ValidateSet('backup', 'status', 'help')]
    [string] $Action = 'backup'
)
$ErrorActionPreference = 'Stop'

if ($Action -eq 'help') {
    Write-Output 'usage: backup-database.ps1 [backup|status|help]'
    Write-Output 'BACKUP_DATABASE names the database and BACKUP_DIRECTORY the directory of its backups.'
    exit 0
}

$part = @{ backup = 'backup'; status = 'health' }[$Action]
if ($env:DIGITALME_BACKUP) {
    & $env:DIGITALME_BACKUP run --only $part
}
else {
    $env:PYTHONPATH = Join-Path $PSScriptRoot '../plugins/module_utils'
    & python -m engine run --only $part
}
exit $LASTEXITCODE
